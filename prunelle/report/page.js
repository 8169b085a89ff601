"use strict";

// Charts: {id: {data, layout}}, packed as gzip in base64 so that the page stays small.
async function unpackFigures() {
  const packed = Uint8Array.from(atob(document.getElementById("figures").textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).json();
}

function visiblePlots() {
  return [...document.querySelectorAll(".plot")].filter((div) => !div.closest("[hidden]"));
}

function draw(div, figures) {
  const figure = figures[div.id];
  div.dataset.drawn = "true";
  return Plotly.newPlot(div, figure.data, figure.layout, { displayModeBar: false, responsive: true });
}

// One legend entry shows or hides its traces in every chart of its section.
function toggle(button, figures) {
  const shown = button.getAttribute("aria-pressed") !== "true";
  button.setAttribute("aria-pressed", String(shown));
  for (const div of document.querySelectorAll("#" + button.dataset.section + " .plot")) {
    const own = figures[div.id].data.flatMap((trace, i) => (trace.meta === button.dataset.meta ? [i] : []));
    if (own.length) Plotly.restyle(div, { visible: shown }, own);
  }
}

// Only the chosen run's layers are in view, and a chart is drawn when it first is.
function chooseLayers(choice, figures) {
  for (const part of document.querySelectorAll(".choice")) part.hidden = part.dataset.choice !== choice;
  for (const div of visiblePlots()) {
    if (div.dataset.drawn) Plotly.Plots.resize(div);
    else draw(div, figures);
  }
}

// While printing a chart is half a sheet wide, and as wide as the window allows after it.
function setWidths(change) {
  for (const div of visiblePlots()) Plotly.relayout(div, change);
}

async function start() {
  const figures = await unpackFigures();
  // Under a finger a drag scrolls the page; under a mouse it zooms the chart.
  if (matchMedia("(pointer: coarse)").matches) {
    for (const figure of Object.values(figures)) figure.layout.dragmode = false;
  }
  await Promise.all(visiblePlots().map((div) => draw(div, figures)));
  for (const button of document.querySelectorAll(".legend button")) {
    button.addEventListener("click", () => toggle(button, figures));
  }
  const choice = document.getElementById("layer-choice");
  if (choice) choice.addEventListener("change", () => chooseLayers(choice.value, figures));
  addEventListener("beforeprint", () => setWidths({ width: 330, autosize: false }));
  addEventListener("afterprint", () => setWidths({ width: null, autosize: true }));
  document.body.dataset.ready = "true";
}

start();
