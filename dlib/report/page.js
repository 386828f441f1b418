// What the page shows: it puts tables and charts together, and keeps which runs are drawn.
const data = JSON.parse(document.getElementById("data").textContent);
const hidden = new Set(); // the runs that are not drawn, by their places
const nameOf = (place) => data.runs[place].name;

function swatch(place) {
  const line = make("span", { class: "swatch" });
  line.style.borderTopColor = colourOf(place);
  line.style.borderTopStyle = ["solid", "dashed", "dotted"][Math.min(2, Math.floor(place / colours) % dashes.length)];
  return line;
}

function runRow(run, place) {
  const box = make("input", { type: "checkbox", checked: "", "aria-label": `draw ${run.name}` });
  box.onchange = () => {
    box.checked ? hidden.delete(place) : hidden.add(place);
    redraw();
  };
  const head = make("th", { scope: "row" }, make("label", { class: "run" }, box, swatch(place), make("span", {}, run.name)));
  if (run.note) head.append(make("span", { class: "note bad" }, run.note));
  return { head, key: run.name, cells: run.cells, place, box };
}

function showRuns() {
  const rows = data.runs.map(runRow);
  const { element, sort } = table(data.columns, rows, "run");
  find("#runs .scroll").append(element);
  const best = data.columns.findIndex(([name]) => name === data.best.key);
  if (best >= 0) sort(best + 1, data.best.highest ? "descending" : "ascending");
  const tell = () => (find("#count").textContent = rows.some((row) => row.element.hidden) ? `${rows.filter((row) => !row.element.hidden).length} of ${rows.length} runs` : "");
  find("#wanted").oninput = (event) => {
    const wanted = event.target.value.toLowerCase();
    for (const row of rows) {
      row.element.hidden = !row.element.textContent.toLowerCase().includes(wanted);
      row.element.hidden || !row.box.checked ? hidden.add(row.place) : hidden.delete(row.place);
    }
    tell();
    redraw();
  };
  if (data.shared.length) find("#shared .scroll").append(plainTable(data.shared));
  else find("#shared").remove();
}

// ---- curves ----

function curveSeries(one) {
  return one.lines
    .filter((line) => !hidden.has(line.run))
    .map((line) => ({
      colour: colourOf(line.run),
      dash: dashOf(line.run),
      points: line.points.map(([x, y]) => ({ x, y, low: y, high: y, tip: () => `${nameOf(line.run)}\n${data.x} ${shown(x)}: ${shown(y)}` })),
    }));
}

function drawCurves() {
  const log = find("#log").checked;
  find("#curves").hidden = !data.charts.length;
  data.charts.forEach((one, place) => {
    const label = `${one.metric} over ${data.x}`;
    chart(find(`#curve-${place}`), curveSeries(one), { log, label, xLabel: data.x, xScale: { count: 6 } });
  });
}

function addCharts() {
  data.charts.forEach((one, place) => {
    const thin = Math.max(...one.lines.map((line) => (line.recorded > line.points.length ? line.recorded : 0)));
    const broken = one.lines.filter((line) => line.broken).map((line) => `${nameOf(line.run)}: ${line.broken}`);
    const words = [thin ? `of up to ${thin} values the lowest and highest of each stretch are drawn` : "", broken.length ? `values that are no finite numbers: ${broken.join(", ")}` : ""];
    const caption = make("figcaption", {}, one.unit ? `${one.metric} (${one.unit})` : one.metric, ...words.filter(Boolean).map((text) => make("small", {}, text)));
    find("#curves .grid").append(make("figure", { id: `curve-${place}` }, caption));
  });
}

// ---- effects of arguments ----

const { arguments: varied, groups } = data.effects;
const isHidden = (group) => group.runs.every((place) => hidden.has(place));

// A logarithmic axis where all values are above 0 and the largest is 20 times the smallest; words stand side by side.
function axisOf(values) {
  const different = [...new Set(values)];
  if (!different.every((value) => typeof value === "number")) {
    different.sort((a, b) => inOrder([a], [b]));
    const places = different.map((_, place) => place);
    const same = lengthOfSame(different.map(String));
    return { toX: (value) => different.indexOf(value), nameOf: (place) => tickText(String(different[place]).slice(same)), xScale: { ticks: places, margin: 0.15 } };
  }
  different.sort((a, b) => a - b);
  const log = different[0] > 0 && different[different.length - 1] >= 20 * different[0];
  return { toX: (value) => value, xScale: { ticks: different, margin: 0.08, log } };
}

// How far words begin alike, up to the last of = / and blank: what a short label under an axis need not repeat.
function lengthOfSame(words) {
  const differsAt = [...words[0]].findIndex((letter, place) => words.some((word) => word[place] !== letter));
  return differsAt < 1 ? 0 : Math.max(...["=", "/", " "].map((mark) => words[0].lastIndexOf(mark, differsAt - 1))) + 1;
}

function effectPoint(group, argument, metric, toX) {
  const [number, mean, deviation] = group.means[metric];
  const spread = typeof deviation === "number" ? deviation : 0;
  const words = varied.map((key, place) => `${key} ${shown(group.values[place])}`);
  const tip = () => `${metric} ${shown(mean)}${deviation === null ? "" : ` ± ${shown(deviation, 3)}`} (n = ${number})\n${words.join("\n")}\n${group.runs.map(nameOf).join(", ")}`;
  return { x: toX(group.values[argument]), y: typeof mean === "number" ? mean : null, low: mean - spread, high: mean + spread, hollow: !group.whole, tip };
}

// Numbers by size, words by the alphabet and the numbers in them, the first that differs decides.
function inOrder(a, b) {
  const place = a.findIndex((value, each) => value !== b[each]);
  if (place < 0) return 0;
  return typeof a[place] === "number" && typeof b[place] === "number" ? a[place] - b[place] : String(a[place]).localeCompare(String(b[place]), "en", { numeric: true });
}

function drawEffects() {
  const metric = find("#metric").value;
  const visible = groups.filter((group) => !isHidden(group) && group.means[metric][0]);
  varied.forEach((key, argument) => {
    const axis = axisOf(visible.map((group) => group.values[argument]));
    const others = new Map(); // the groups that have all other arguments alike, by these
    for (const group of visible) {
      const rest = group.values.filter((_, place) => place !== argument);
      const one = others.get(String(rest)) || { rest, points: [] };
      others.set(String(rest), { ...one, points: [...one.points, effectPoint(group, argument, metric, axis.toX)] });
    }
    const lines = [...others.values()].sort((a, b) => inOrder(a.rest, b.rest));
    const series = lines.map(({ points }, place) => ({ colour: colourOf(place), dash: dashOf(place), dots: 4, points: points.sort((a, b) => a.x - b.x) }));
    const label = `${metric} against ${key}`;
    const figure = find(`#effect-${argument}`);
    figure.querySelector("figcaption").replaceChildren(label, legend(key, lines.map(({ rest }) => rest.map((value) => shown(value)).join(", "))));
    chart(figure, series, { label, xLabel: key, nameOf: axis.nameOf, xScale: axis.xScale });
  });
}

// Which line has which other arguments, where a reader can tell the lines apart.
function legend(key, texts) {
  const others = varied.filter((other) => other !== key);
  const words = make("small", { class: "legend" });
  if (!others.length) return words;
  words.append(others.join(", ") + ":");
  for (const [place, text] of texts.slice(0, colours).entries()) words.append(make("span", {}, swatch(place), text));
  if (texts.length > colours) words.append(`and ${texts.length - colours} more`);
  return words;
}

function addEffects() {
  find("#effects").hidden = !varied.length || !data.effects.metrics.length;
  for (const name of data.effects.metrics) find("#metric").append(make("option", name === data.best.key ? { selected: "" } : {}, name));
  find("#metric").onchange = drawEffects;
  varied.forEach((_, place) => find("#effects .grid").append(make("figure", { id: `effect-${place}` }, make("figcaption"))));
}

// ---- evaluations, samples ----

function showEvaluations() {
  const names = [...new Set(data.evaluations.flatMap((each) => Object.keys(each.metrics)))];
  const rows = data.evaluations.map((each) => ({
    head: make("th", { scope: "row" }, nameOf(each.run)),
    key: nameOf(each.run),
    cells: [[each.step, String(each.step)], [each.what, each.what], ...names.map((name) => each.metrics[name] || null)],
  }));
  find("#evaluations").hidden = !rows.length;
  if (rows.length) find("#evaluations .scroll").append(table([["step", ""], ["evaluation", ""], ...names.map((name) => [name, ""])], rows, "run").element);
}

function showSamples() {
  find("#samples").hidden = !data.samples.length;
  data.samples.forEach((each, place) => {
    const names = [...new Set(each.rows.flatMap((row) => Object.keys(row)))];
    const head = make("thead", {}, make("tr", {}, ...names.map((name) => make("th", { scope: "col" }, name))));
    const rows = each.rows.map((row) => make("tr", {}, ...names.map((name) => make("td", { class: "text" }, row[name] ?? "–"))));
    const box = make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `Samples of ${nameOf(each.run)}` }, make("table", {}, head, make("tbody", {}, ...rows)));
    const title = make("summary", {}, `${nameOf(each.run)}, step ${each.step}, ${each.what}`);
    find("#samples").append(make("details", place ? {} : { open: "" }, title, box));
  });
}

function redraw() {
  drawCurves();
  if (!find("#effects").hidden) drawEffects();
}

const many = `${data.runs.length} run${data.runs.length === 1 ? "" : "s"}`;
find("h1").textContent = many;
find("#made").textContent = [...data.filters.map((text) => `--filter ${text}`), data.made].join(" · ");
document.title = [many, ...data.filters].join(", ");
showRuns();
addCharts();
addEffects();
showEvaluations();
showSamples();
find("#log").onchange = redraw;
let width = find("main").clientWidth;
redraw();
new ResizeObserver(() => {
  if (find("main").clientWidth === width) return;
  width = find("main").clientWidth;
  requestAnimationFrame(redraw); // not at once: it would change what is being observed
}).observe(find("main"));
