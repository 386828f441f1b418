"use strict";
// Elements, colours and tables. All text goes into the page as text, never as markup.
const svgSpace = document.getElementById("canvas").namespaceURI;
const [colours, dashes] = [8, ["", "7 3", "2 3", "9 3 2 3"]];
const find = (selector) => document.querySelector(selector);

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function draw(parent, tag, attributes, text) {
  const element = document.createElementNS(svgSpace, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  parent.append(element);
  return element;
}

const colourOf = (place) => `var(--colour-${place % colours})`;
const dashOf = (place) => dashes[Math.floor(place / colours) % dashes.length];
const shown = (value, digits = 5) => (value === null ? "–" : typeof value === "number" ? String(Number(value.toPrecision(digits))) : value);

const isNumeric = (value) => typeof value === "number" || ["NaN", "Infinity", "-Infinity"].includes(value);

// What a value is sorted by: words for numbers that are not finite come after all numbers, empty cells last of all.
function compare(a, b, sign) {
  if (a === null || b === null) return (a === null) - (b === null);
  const kinds = [typeof a[0] === "string", typeof b[0] === "string"];
  if (kinds[0] !== kinds[1]) return kinds[0] - kinds[1];
  return sign * (kinds[0] ? a[0].localeCompare(b[0], "en", { numeric: true }) : a[0] - b[0]);
}

// columns: [name, group]; rows: {head: node, key: text of the head, cells: [[value, text] or null], place}.
function table(columns, rows, first) {
  const body = make("tbody");
  const heads = [first, ...columns.map(([name]) => name)].map((name) => make("th", { scope: "col" }, make("button", { type: "button" }, name)));
  const isNumber = columns.map((_, place) => rows.every((row) => row.cells[place] === null || isNumeric(row.cells[place][0])));
  for (const row of rows) {
    row.element = make("tr", {}, row.head);
    row.cells.forEach((cell, place) => {
      const kind = isNumber[place] ? { class: "number" } : {};
      row.element.append(make("td", cell && typeof cell[0] === "number" ? { ...kind, title: cell[0] } : kind, cell === null ? "–" : cell[1]));
    });
  }
  const sort = (place, direction) => {
    const cellOf = (row) => (place === 0 ? [row.key] : row.cells[place - 1]);
    const sign = direction === "ascending" ? 1 : -1;
    body.append(...rows.slice().sort((a, b) => compare(cellOf(a), cellOf(b), sign)).map((row) => row.element));
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads[place].setAttribute("aria-sort", direction);
  };
  heads.forEach((head, place) => {
    if (isNumber[place - 1]) head.className = "number";
    head.firstChild.onclick = () => sort(place, head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending");
  });
  const groups = make("tr", { class: "groups" }, make("th"));
  for (let place = 0; place < columns.length; ) {
    const same = columns.slice(place).findIndex(([, group]) => group !== columns[place][1]);
    const span = same < 0 ? columns.length - place : same;
    groups.append(make("th", { colspan: span, scope: "colgroup" }, columns[place][1]));
    place += span;
  }
  const head = make("thead", {}, ...(columns.some(([, group]) => group) ? [groups] : []), make("tr", {}, ...heads));
  body.append(...rows.map((row) => row.element));
  return { element: make("table", {}, head, body), sort };
}

function plainTable(rows) {
  return make("table", {}, make("tbody", {}, ...rows.map(([name, value]) => make("tr", {}, make("th", { scope: "row" }, name), make("td", { class: "text" }, value)))));
}

