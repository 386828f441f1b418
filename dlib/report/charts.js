// Charts: scales, ticks, lines, error bars, and the values of the point that a reader points at.
function niceTicks(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough);
  const ticks = [];
  for (let number = Math.ceil(low / step); number * step <= high + step * 1e-9; number++) ticks.push(number * step);
  return ticks;
}

function logTicks(low, high) {
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++)
    for (const factor of [1, 2, 5]) if (factor * 10 ** power >= low && factor * 10 ** power <= high) ticks.push(factor * 10 ** power);
  return ticks.length > 1 ? ticks : niceTicks(low, high, 4);
}

// A scale from values to pixels with its ticks: linear or logarithmic, with a margin of a share of its length.
function scale(values, from, to, { log = false, margin = 0, count = 5, ticks = null }) {
  const at = log ? Math.log : (value) => value;
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) [low, high] = [Math.min(low, value), Math.max(high, value)];
  if (low === high) [low, high] = log ? [low / 2, high * 2] : [low - (Math.abs(low) || 1) / 10, high + (Math.abs(low) || 1) / 10];
  const pad = margin * (at(high) - at(low));
  const [start, end] = [at(low) - pad, at(high) + pad];
  const back = log ? Math.exp : (value) => value;
  const toPixel = (value) => from + ((at(value) - start) / (end - start)) * (to - from);
  return { toPixel, ticks: ticks || (log ? logTicks : niceTicks)(back(start), back(end), count) };
}

function tickText(value) {
  if (typeof value !== "number") return value.length > 14 ? `${value.slice(0, 13)}…` : value;
  if (Math.abs(value) >= 1e6) return `${Number((value / 1e6).toPrecision(4)).toLocaleString("en")}M`;
  return Math.abs(value) >= 1e3 ? value.toLocaleString("en") : String(Number(value.toPrecision(4)));
}

// A chart: series of {points: [{x, y, low, high, hollow, tip}], colour, dash}; y null breaks a line.
// It is drawn anew for each width, so that letters keep their size.
function chart(figure, series, options) {
  figure.querySelector("svg")?.remove();
  figure.querySelector(".tip")?.remove();
  const [width, height] = [Math.max(240, figure.clientWidth), 300];
  const box = { left: 56, right: width - 20, top: 12, bottom: height - 42 };
  const isDrawn = (point) => point.y !== null && !(options.log && point.low <= 0);
  const drawn = series.map((one) => ({ ...one, points: one.points.map((point) => ({ ...point, there: isDrawn(point) })) }));
  const points = drawn.flatMap((one) => one.points.filter((point) => point.there));
  const svg = draw(figure, "svg", { height, viewBox: `0 0 ${width} ${height}`, tabindex: 0, role: "img", "aria-label": options.label });
  if (!points.length) {
    draw(svg, "text", { x: width / 2, y: height / 2, "text-anchor": "middle" }, "nothing to draw");
    return;
  }
  const y = scale(points.flatMap((point) => [point.low, point.high]), box.bottom, box.top, { log: options.log, margin: 0.04 });
  const x = scale(points.map((point) => point.x), box.left, box.right, options.xScale);
  frame(svg, box, x, y, options);
  const lines = drawn.map((one) => drawSeries(svg, one, x, y));
  watch(figure, svg, drawn, lines, x, y, box);
}

function frame(svg, box, x, y, options) {
  for (const tick of y.ticks) {
    draw(svg, "line", { class: "rule", x1: box.left, x2: box.right, y1: y.toPixel(tick), y2: y.toPixel(tick) });
    draw(svg, "text", { x: box.left - 6, y: y.toPixel(tick) + 4, "text-anchor": "end" }, tickText(tick));
  }
  draw(svg, "line", { class: "rule", x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom });
  let free = -Infinity; // where the next label may begin
  for (const tick of x.ticks) {
    const [place, text] = [x.toPixel(tick), options.nameOf ? options.nameOf(tick) : tickText(tick)];
    const half = text.length * 3.4;
    const middle = Math.min(place, box.right + 20 - half);
    draw(svg, "line", { class: "rule", x1: place, x2: place, y1: box.bottom, y2: box.bottom + 4 });
    if (middle - half < free) continue;
    draw(svg, "text", { x: middle, y: box.bottom + 18, "text-anchor": "middle" }, text);
    free = middle + half + 6;
  }
  draw(svg, "text", { x: (box.left + box.right) / 2, y: box.bottom + 36, "text-anchor": "middle" }, options.xLabel);
}

function drawSeries(svg, one, x, y) {
  const group = draw(svg, "g", {});
  group.style.stroke = group.style.fill = one.colour;
  let path = "";
  one.points.forEach((point, place) => {
    if (point.there) path += `${path && one.points[place - 1].there ? "L" : "M"}${x.toPixel(point.x).toFixed(1)} ${y.toPixel(point.y).toFixed(1)}`;
  });
  const [few, many] = [one.points.length <= 30, one.points.length > 100];
  draw(group, "path", { class: many ? "curve thin" : "curve", d: path, "stroke-dasharray": one.dash });
  for (const point of one.points.filter((each) => each.there && (few || each.low < each.high))) {
    const [px, top, bottom] = [x.toPixel(point.x), y.toPixel(point.high), y.toPixel(point.low)];
    if (point.low < point.high) draw(group, "path", { class: "curve", d: `M${px} ${bottom}V${top}M${px - 4} ${top}h8M${px - 4} ${bottom}h8` });
    draw(group, "circle", { cx: px, cy: y.toPixel(point.y), r: one.dots || 2.5, ...(point.hollow ? { class: "hollow" } : {}) });
  }
  return group;
}

// Shows the values of the point that is nearest to the pointer, or that the arrow keys lead to.
function watch(figure, svg, series, lines, x, y, box) {
  const tip = make("div", { class: "tip", role: "status" });
  figure.append(tip);
  const spot = draw(svg, "circle", { class: "spot", r: 5, visibility: "hidden" });
  const there = series.flatMap((one, line) => one.points.map((point, place) => ({ line, place, point })).filter((each) => each.point.there));
  const pixels = there.map(({ point }) => [x.toPixel(point.x), y.toPixel(point.y)]);
  let now = -1;
  const show = (next) => {
    now = next;
    const [px, py] = pixels[now];
    const { line, point } = there[now];
    lines.forEach((group, place) => group.setAttribute("class", place === line ? "" : "faded"));
    spot.style.fill = series[line].colour;
    for (const [name, value] of [["cx", px], ["cy", py], ["visibility", "visible"]]) spot.setAttribute(name, value);
    tip.textContent = point.tip();
    const offset = svg.getBoundingClientRect().top - figure.getBoundingClientRect().top;
    tip.style.left = `${Math.max(0, Math.min(px + 12, figure.clientWidth - tip.offsetWidth))}px`;
    const above = py + offset - tip.offsetHeight - 12;
    tip.style.top = `${above > 0 ? above : py + offset + 14}px`;
  };
  const leave = () => {
    now = -1;
    tip.textContent = "";
    spot.setAttribute("visibility", "hidden");
    lines.forEach((group) => group.setAttribute("class", ""));
  };
  svg.onpointermove = svg.onpointerdown = (event) => {
    const place = svg.getBoundingClientRect();
    const [px, py] = [event.clientX - place.left, event.clientY - place.top];
    let [nearest, least] = [-1, Infinity];
    pixels.forEach(([ax, ay], index) => {
      const distance = (ax - px) ** 2 + (ay - py) ** 2;
      if (distance < least) [nearest, least] = [index, distance];
    });
    show(nearest);
  };
  svg.onpointerleave = (event) => event.pointerType === "mouse" && leave();
  svg.onblur = leave;
  svg.onkeydown = (event) => {
    const along = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const across = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") return leave();
    if (!along && !across) return;
    event.preventDefault();
    if (now < 0) return show(0);
    const { line, point } = there[now];
    if (along) return there[now + along]?.line === line && show(now + along);
    const others = there.map((each, index) => [each, index]).filter(([each]) => (each.line - line) * across > 0);
    if (!others.length) return;
    const next = across > 0 ? others[0][0].line : others[others.length - 1][0].line;
    const gap = ([each]) => Math.abs(each.point.x - point.x);
    show(others.filter(([each]) => each.line === next).reduce((a, b) => (gap(b) < gap(a) ? b : a))[1]);
  };
}

