"use strict";

// Tables: a cell with data-sort sorts as a number, an empty data-sort was not measured and goes last either way.
function compareCells(a, b, sign) {
  const missing = (a.dataset.sort === "") - (b.dataset.sort === "");
  if (missing) return missing;
  if (a.dataset.sort && b.dataset.sort) return sign * (Number(a.dataset.sort) - Number(b.dataset.sort));
  return sign * a.textContent.localeCompare(b.textContent, "en", { numeric: true });
}

function sortTable(table, header) {
  const ascending = header.getAttribute("aria-sort") !== "ascending";
  for (const other of table.tHead.rows[0].cells) other.setAttribute("aria-sort", "none");
  header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  const lines = [...table.tBodies[0].rows];
  const column = header.cellIndex;
  lines.sort((a, b) => compareCells(a.cells[column], b.cells[column], ascending ? 1 : -1));
  table.tBodies[0].append(...lines);
}

for (const table of document.querySelectorAll("table.sortable")) {
  table.tHead.addEventListener("click", (event) => {
    const header = event.target.closest("th");
    if (header) sortTable(table, header);
  });
}
