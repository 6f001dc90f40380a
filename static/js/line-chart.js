// A line chart as SVG, in the classes of plot.html. A cursor, which a pointer, a finger or the arrow keys move, chooses a place
// on the x axis.
const SVG = "http://www.w3.org/2000/svg";
const MARGIN = { left: 56, right: 14, top: 24, bottom: 40 };
const MAX_POINTS = 500; // of a line: of more, the lowest and the highest of each part are drawn
const MAX_DOTS = 12;

export class LineChart {
  // names: {title, x, y}; axis: {percent, reference}; onCursor is told when the cursor moves
  constructor({ names, axis, height, onCursor }) {
    this.names = names;
    this.axis = axis;
    this.height = height;
    this.onCursor = onCursor;
    this.lines = [];
    this.places = []; // the steps of all lines, in order
    this.at = null; // the cursor's place among them
    this.width = 320;
    this.element = create("svg", { class: "line-chart", role: "slider", tabindex: 0, "aria-label": names.title, "aria-valuemin": 0 });
    this.element.style.height = `${height}px`;
    this.element.addEventListener("pointermove", (event) => this.follow(event));
    this.element.addEventListener("pointerdown", (event) => this.follow(event));
    this.element.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && document.activeElement !== this.element && this.move(null));
    this.element.addEventListener("blur", () => this.move(null));
    this.element.addEventListener("keydown", (event) => this.handleKey(event));
  }

  // lines: [{name, points: [[x, y], …]}], each in the order of x; at most six, which the styles tell apart
  set(lines) {
    const last = this.places.at(this.at ?? 0);
    this.lines = lines;
    this.places = [...new Set(lines.flatMap((line) => line.points.map(([x]) => x)))].toSorted((a, b) => a - b);
    this.at = this.at === null ? null : Math.max(0, this.places.indexOf(last));
    this.draw();
  }

  resize(width) {
    if (width < 40 || width === this.width) return;
    this.width = width;
    this.draw();
  }

  // where the cursor is on the x axis; null if it is nowhere
  get cursor() {
    return this.at === null ? null : this.places[this.at];
  }

  draw() {
    const values = this.lines.flatMap((line) => line.points.map(([, y]) => y));
    if (!values.length) return this.element.replaceChildren();
    const yTicks = ticksOf(values, this.axis);
    const xTicks = ticksOf(this.places, { tight: true, count: Math.max(3, Math.floor(this.width / 60)) });
    const [left, right] = [this.places[0], this.places.at(-1)];
    this.x = (value) => MARGIN.left + ((this.width - MARGIN.left - MARGIN.right) * (value - left)) / (right - left || 1);
    this.y = (value) => MARGIN.top + ((this.height - MARGIN.top - MARGIN.bottom) * (yTicks.at(-1) - value)) / (yTicks.at(-1) - yTicks[0]);
    const end = this.width - MARGIN.right;
    const bottom = this.height - MARGIN.bottom;
    const parts = [];
    const labels = tickLabels(yTicks, this.axis.percent);
    yTicks.forEach((tick, n) => {
      parts.push(create("line", { class: "plot-grid", x1: MARGIN.left, x2: end, y1: this.y(tick), y2: this.y(tick) }));
      parts.push(text(labels[n], { x: MARGIN.left - 8, y: this.y(tick), dy: "0.35em", "text-anchor": "end" }));
    });
    const xLabels = tickLabels(xTicks, false);
    xTicks.forEach((tick, n) => parts.push(text(xLabels[n], { x: this.x(tick), y: bottom, dy: "1.5em", "text-anchor": "middle" })));
    parts.push(text(this.names.x, { x: end, y: bottom, dy: "2.9em", "text-anchor": "end" }));
    parts.push(text(this.names.y, { x: 4, y: 12 }));
    const { reference } = this.axis;
    if (reference != null) parts.push(create("line", { class: "plot-reference", x1: MARGIN.left, x2: end, y1: this.y(reference), y2: this.y(reference) }));
    this.lines.forEach((line, n) => parts.push(...this.drawLine(line, n)));
    this.cursorLine = create("line", { class: "plot-cursor", y1: MARGIN.top, y2: bottom });
    parts.push(this.cursorLine);
    const picture = create("g", { "aria-hidden": "true" });
    picture.append(...parts);
    this.element.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
    this.element.setAttribute("aria-valuemax", this.places.length - 1);
    this.element.replaceChildren(picture);
    this.showCursor();
  }

  drawLine({ points }, number) {
    if (!points.length) return [];
    const shown = thinned(points);
    const path = create("path", { class: `plot-line is-series-${number}`, d: `M${shown.map(([x, y]) => `${this.x(x).toFixed(1)} ${this.y(y).toFixed(1)}`).join("L")}` });
    const dots = points.length > MAX_DOTS ? [] : points.map(([x, y]) => create("circle", { class: `plot-dot is-series-${number}`, cx: this.x(x), cy: this.y(y), r: 3.5 }));
    return [path, ...dots];
  }

  follow(event) {
    if (!this.places.length) return;
    const box = this.element.getBoundingClientRect();
    const at = ((event.clientX - box.left) * this.width) / box.width;
    let nearest = 0;
    for (let n = 1; n < this.places.length; n++) if (Math.abs(this.x(this.places[n]) - at) < Math.abs(this.x(this.places[nearest]) - at)) nearest = n;
    this.move(nearest);
  }

  handleKey(event) {
    const last = this.places.length - 1;
    const now = this.at ?? last;
    const tenth = Math.max(1, Math.round(last / 10));
    const targets = { ArrowLeft: now - 1, ArrowDown: now - 1, ArrowRight: now + 1, ArrowUp: now + 1, PageDown: now - tenth, PageUp: now + tenth, Home: 0, End: last };
    if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in targets)) return;
    event.preventDefault();
    this.move(Math.min(last, Math.max(0, this.at === null && event.key.startsWith("Arrow") ? last : targets[event.key])));
  }

  move(at) {
    if (at === this.at) return;
    this.at = at;
    this.showCursor();
    this.onCursor();
  }

  showCursor() {
    if (!this.cursorLine) return;
    this.cursorLine.setAttribute("visibility", this.at === null ? "hidden" : "visible");
    if (this.at !== null) for (const name of ["x1", "x2"]) this.cursorLine.setAttribute(name, this.x(this.cursor));
    this.element.setAttribute("aria-valuenow", this.at ?? this.places.length - 1);
  }
}

export function create(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

function text(content, attributes) {
  const element = create("text", { class: "plot-label", ...attributes });
  element.textContent = content;
  return element;
}

// The line of a legend: in the colour and the dashes of the line of this number.
export function lineKey(number) {
  const svg = create("svg", { class: "plot-key", viewBox: "0 0 28 8", "aria-hidden": "true" });
  svg.append(create("path", { class: `plot-line is-series-${number}`, d: "M0 4H28" }));
  return svg;
}

function thinned(points) {
  if (points.length <= MAX_POINTS) return points;
  const size = Math.ceil((2 * points.length) / MAX_POINTS);
  const kept = [];
  for (let from = 0; from < points.length; from += size) {
    const part = points.slice(from, from + size);
    const ends = [part.reduce((low, point) => (point[1] < low[1] ? point : low)), part.reduce((high, point) => (point[1] > high[1] ? point : high))];
    kept.push(...ends.toSorted((a, b) => a[0] - b[0]));
  }
  return kept;
}

// Round values from below the lowest to above the highest: from zero for rates and wherever zero is not far, up to 100% for rates
// that are compared with a reference. tight: within the values.
export function ticksOf(values, { percent = false, reference = null, tight = false, count = 4 }) {
  let low = values.reduce((a, b) => Math.min(a, b));
  let high = values.reduce((a, b) => Math.max(a, b));
  if (reference !== null) [low, high] = [Math.min(0, low), Math.max(percent ? 1 : reference, high)];
  else if (!tight && low >= 0 && (percent || low <= high / 2)) low = 0;
  if (low === high) {
    if (tight) return [low];
    [low, high] = low === 0 ? [0, 1] : [Math.min(low, 0), Math.max(high, 0)];
  }
  const raw = (high - low) / count;
  const size = 10 ** Math.floor(Math.log10(raw));
  let step = [1, 2, 5, 10].find((times) => times * size >= raw * 0.999) * size;
  if (tight) step = Math.max(1, step); // of whole steps
  const first = tight ? Math.ceil(low / step - 1e-9) : Math.floor(low / step + 1e-9);
  const last = tight ? Math.floor(high / step + 1e-9) : Math.ceil(high / step - 1e-9);
  return Array.from({ length: last - first + 1 }, (_, n) => Number(((first + n) * step).toPrecision(12)));
}

// The labels of an axis, with as many digits as it takes to tell each from its neighbour.
export function tickLabels(splits, percent) {
  for (let digits = 1; digits < 6; digits++) {
    const labels = splits.map((value) => formatTick(value, percent, digits));
    if (new Set(labels).size === labels.length) return labels;
  }
  return splits.map((value) => formatTick(value, percent, 6));
}

function formatTick(value, percent, digits) {
  if (percent) return `${(100 * value).toFixed(digits - 1)}%`;
  const size = Math.abs(value);
  if (size >= 10000) return `${Number((value / 1000).toPrecision(Math.max(3, digits)))}k`;
  if (size && size < 1e-3) return value.toExponential(digits - 1);
  return String(Number(value.toPrecision(Math.max(3, digits))));
}
