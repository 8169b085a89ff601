"use strict";
(function () {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const config = { displayModeBar: false, responsive: true };

  // Under a finger a drag scrolls the page; under a mouse it zooms the chart.
  if (matchMedia("(pointer: coarse)").matches) {
    for (const figure of Object.values(figures)) figure.layout.dragmode = false;
  }

  function draw(div) {
    const figure = figures[div.id];
    div.dataset.drawn = "true";
    return Plotly.newPlot(div, figure.data, figure.layout, config);
  }

  function visiblePlots() {
    return [...document.querySelectorAll(".plot")].filter((div) => !div.closest("[hidden]"));
  }

  // Layers: only the chosen run's charts are in view, and a chart is drawn when it first is.
  const choice = document.getElementById("layer-choice");
  if (choice) {
    choice.addEventListener("change", () => {
      for (const part of document.querySelectorAll(".choice")) part.hidden = part.dataset.choice !== choice.value;
      for (const div of visiblePlots()) {
        if (div.dataset.drawn) Plotly.Plots.resize(div);
        else draw(div);
      }
    });
  }

  // Legends: one entry shows or hides its traces in every chart of its section.
  for (const button of document.querySelectorAll(".legend button")) {
    button.addEventListener("click", () => {
      const shown = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(shown));
      for (const div of document.querySelectorAll("#" + button.dataset.section + " .plot")) {
        const own = figures[div.id].data.flatMap((trace, i) => (trace.meta === button.dataset.meta ? [i] : []));
        if (own.length) Plotly.restyle(div, { visible: shown }, own);
      }
    });
  }

  // Tables: a cell with data-sort sorts as a number, an empty data-sort was not measured and goes last either way.
  function compare(a, b, sign) {
    const missing = (a.dataset.sort === "") - (b.dataset.sort === "");
    if (missing) return missing;
    if (a.dataset.sort && b.dataset.sort) return sign * (Number(a.dataset.sort) - Number(b.dataset.sort));
    return sign * a.textContent.localeCompare(b.textContent, "en", { numeric: true });
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    table.tHead.addEventListener("click", (event) => {
      const header = event.target.closest("th");
      if (!header) return;
      const ascending = header.getAttribute("aria-sort") !== "ascending";
      for (const other of table.tHead.rows[0].cells) other.setAttribute("aria-sort", "none");
      header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      const column = header.cellIndex;
      const lines = [...table.tBodies[0].rows];
      lines.sort((a, b) => compare(a.cells[column], b.cells[column], ascending ? 1 : -1));
      table.tBodies[0].append(...lines);
    });
  }

  // Print: charts take half a sheet's width while printing, and the window's again after it.
  addEventListener("beforeprint", () => visiblePlots().forEach((div) => Plotly.relayout(div, { width: 330, autosize: false })));
  addEventListener("afterprint", () => visiblePlots().forEach((div) => Plotly.relayout(div, { width: null, autosize: true })));

  Promise.all(visiblePlots().map(draw)).then(() => (document.body.dataset.ready = "true"));
})();
