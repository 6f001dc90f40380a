// Line charts of a run's metrics by uPlot: one card per group, with what each metric means, in the colours of the theme.
import { gettext, ngettext } from "./gettext.js";

export class Charts {
  // known: {metrics: {name: {label, description, percent}}, charts: [{title, names, large}]}
  constructor(box, known) {
    this.box = box;
    this.known = known;
    this.curves = new Map(); // name -> Map(step -> value)
    this.cards = new Map(); // title -> {names, plot, keys, …}
    this.isDrawScheduled = false;
    new ResizeObserver(() => this.resize()).observe(box);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.redraw());
    new MutationObserver(() => this.redraw()).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  }

  set(curves) {
    this.curves = new Map(Object.entries(curves).map(([name, points]) => [name, new Map(points)]));
    this.draw();
  }

  add(step, values) {
    for (const [name, value] of Object.entries(values)) {
      if (value === null) continue;
      if (!this.curves.has(name)) this.curves.set(name, new Map());
      this.curves.get(name).set(step, value);
    }
    // many events may come at once: one drawing shows them all
    if (!this.isDrawScheduled) {
      this.isDrawScheduled = true;
      requestAnimationFrame(() => {
        this.isDrawScheduled = false;
        this.draw();
      });
    }
  }

  groups() {
    const left = new Set(this.curves.keys());
    const groups = [];
    for (const { title, names, large } of this.known.charts) {
      const present = names.filter((name) => left.delete(name));
      if (present.length) groups.push({ title, names: present, large });
    }
    for (const name of left) groups.push({ title: this.label(name).label, names: [name], large: false });
    return groups;
  }

  label(name) {
    return this.known.metrics[name] || { label: name.replaceAll("_", " "), description: "", percent: false };
  }

  draw() {
    for (const group of this.groups()) {
      let card = this.cards.get(group.title);
      if (card && card.names.join() !== group.names.join()) {
        card.plot.destroy();
        card.element.remove();
        card = null;
      }
      if (!card) {
        card = this.build(group);
        this.cards.set(group.title, card);
      } else {
        card.plot.setData(this.data(group.names));
      }
      this.showValues(card);
    }
    const order = this.groups().map((group) => this.cards.get(group.title).element);
    if (order.some((element, place) => this.box.children[place] !== element)) this.box.append(...order);
  }

  redraw() {
    for (const card of this.cards.values()) {
      card.plot.destroy();
      card.element.remove();
    }
    this.cards.clear();
    this.draw();
  }

  resize() {
    for (const card of this.cards.values()) card.plot.setSize(this.size(card));
  }

  size(card) {
    return { width: Math.max(120, card.inner.clientWidth), height: card.large ? 224 : 144 };
  }

  build({ title, names, large }) {
    const element = document.createElement("figure");
    element.className = `chart-card chart-colors${large ? " is-large" : ""}`;
    element.dataset.chart = names.join(" ");
    const head = createElement("div", "chart-head", createElement("h3", "", title));
    const values = createElement("div", "chart-now");
    head.append(values);
    const inner = createElement("div", "chart-box");
    const caption = createElement("figcaption", "chart-sentence", names.map((name) => this.label(name).description).filter(Boolean).join(" "));
    element.append(head, inner, caption);
    this.box.append(element);
    const card = { names, large, element, inner, values };
    card.plot = new uPlot(this.options(card), this.data(names), inner);
    return card;
  }

  options(card) {
    const style = getComputedStyle(card.element);
    const color = (name) => resolveColor(card.element, style.getPropertyValue(name));
    const percent = this.label(card.names[0]).percent;
    const axis = { stroke: color("--muted"), font: "11px system-ui", grid: { stroke: color("--chart-grid"), width: 1 }, ticks: { show: false } };
    return {
      ...this.size(card),
      legend: { show: false },
      cursor: { y: false, points: { size: 6 } },
      hooks: { setCursor: [() => this.showValues(card)] },
      scales: { x: { time: false }, y: percent ? { range: (_, low, high) => [Math.max(0, Math.min(low, 0.5) - 0.02), Math.min(1, high + 0.05)] } : {} },
      axes: [
        { ...axis, grid: { show: false }, size: 28 },
        { ...axis, size: 48, space: 28, values: (_, splits) => tickLabels(splits, percent) },
      ],
      series: [
        {},
        ...card.names.map((name, place) => {
          const stroke = color(`--series-${place + 1}`);
          return { label: name, stroke, width: 1.75, spanGaps: true, dash: place ? [6, 3] : undefined, points: { show: () => this.curves.get(name).size <= 12, size: 5, fill: stroke } };
        }),
      ],
    };
  }

  data(names) {
    const steps = [...new Set(names.flatMap((name) => [...this.curves.get(name).keys()]))].toSorted((a, b) => a - b);
    return [steps, ...names.map((name) => steps.map((step) => this.curves.get(name).get(step) ?? null))];
  }

  // the values under the cursor, or the newest ones
  showValues(card) {
    if (!card.plot) return;
    const { idx } = card.plot.cursor;
    const lines = card.names.map((name, place) => {
      const points = this.curves.get(name);
      const step = idx == null ? null : card.plot.data[0][idx];
      const value = step == null ? newestOf(points)[1] : points.get(step);
      const key = createElement("span", "chart-key");
      if (card.names.length > 1) key.append(lineKey(place, card.element));
      const strong = createElement("strong", "", value == null ? "–" : formatValue(value, this.label(name).percent));
      key.append(card.names.length > 1 ? `${this.label(name).label} ` : "", strong);
      return key;
    });
    const step = idx == null ? null : card.plot.data[0][idx];
    if (step != null) lines.unshift(createElement("span", "muted", gettext("step %(step)s", { step: step.toLocaleString(document.documentElement.lang) })));
    card.values.replaceChildren(...lines);
    const points = (name) => ngettext("%(label)s: %(n)s point", "%(label)s: %(n)s points", this.curves.get(name).size, { label: this.label(name).label });
    card.element.setAttribute("aria-label", card.names.map(points).join(", "));
  }
}

export function newestOf(points) {
  return [...points].reduce((last, point) => (point[0] >= last[0] ? point : last), [-1, null]);
}

export function createElement(tag, className, content) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (content) element.append(content);
  return element;
}

// the legend's line: full or dashed, in the curve's colour
function lineKey(place, card) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 18 8");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
  line.setAttribute("d", "M0 4H18");
  line.setAttribute("stroke", resolveColor(card, getComputedStyle(card).getPropertyValue(`--series-${place + 1}`)));
  line.setAttribute("stroke-width", "2.5");
  if (place) line.setAttribute("stroke-dasharray", "5 3");
  svg.append(line);
  return svg;
}

// a canvas does not understand light-dark(), but an element's computed style has it resolved
function resolveColor(parent, color) {
  const probe = document.createElement("span");
  probe.style.color = color;
  parent.append(probe);
  const resolved = getComputedStyle(probe).color;
  probe.remove();
  return resolved;
}

export function formatValue(value, percent) {
  if (percent) return `${(100 * value).toFixed(1)}%`;
  if (Number.isInteger(value)) return value.toLocaleString(document.documentElement.lang);
  const size = Math.abs(value);
  if (size >= 100) return value.toLocaleString(document.documentElement.lang, { maximumFractionDigits: size < 1000 ? 1 : 0 });
  return size < 1e-3 ? value.toExponential(2) : value.toPrecision(3);
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
