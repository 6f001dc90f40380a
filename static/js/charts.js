// Cards with line charts: one a group of metrics, with what each metric means, the values under the cursor, and a table.
import { gettext } from "./gettext.js";
import { LineChart, lineKey } from "./line-chart.js";

export class Charts {
  // known: {metrics: {name: {label, description, percent, unit, reference}}, charts: [{title, names, large}]}
  // csv: (names) => the address of a card's values as CSV
  constructor(box, known, csv) {
    this.box = box;
    this.known = known;
    this.csv = csv;
    this.curves = new Map(); // name -> Map(step -> value)
    this.cards = new Map(); // title -> Card
    this.fewest = 1; // points of one of its metrics without which a chart is not drawn
    this.isDrawScheduled = false;
    new ResizeObserver(() => this.resize()).observe(box);
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
    return groups.filter(({ names }) => names.some((name) => this.curves.get(name).size >= this.fewest));
  }

  label(name) {
    return labelOf(this.known, name);
  }

  draw() {
    const groups = this.groups();
    for (const { title, names, large } of groups) {
      let card = this.cards.get(title);
      if (!card) {
        const metric = this.label(names[0]);
        card = new Card({ title, large, metric: { ...metric, unit: metric.unit || title } });
        this.cards.set(title, card);
        this.box.append(card.element);
        card.resize();
      }
      card.element.dataset.chart = names.join(" ");
      card.csvLink.href = this.csv(names);
      card.describe(names.map((name) => this.label(name).description));
      card.set(names.map((name) => ({ name: this.label(name).label, points: sorted(this.curves.get(name)) })));
    }
    const order = groups.map((group) => this.cards.get(group.title).element);
    if (order.some((element, place) => this.box.children[place] !== element)) this.box.append(...order);
  }

  resize() {
    for (const card of this.cards.values()) card.resize();
  }
}

export class Card {
  constructor({ title, large = false, metric }) {
    this.metric = metric;
    this.lines = [];
    this.plot = new LineChart({
      names: { title, x: gettext("step"), y: metric.unit || metric.label },
      axis: { percent: metric.percent, reference: metric.reference },
      height: large ? 240 : 180,
      onCursor: () => this.showValues(),
    });
    this.element = createElement("figure", `chart-card${large ? " is-large" : ""}`);
    const head = createElement("div", "chart-head", createElement("h3", "", title));
    this.values = createElement("div", "chart-now");
    head.append(this.values);
    this.box = createElement("div", "chart-box", this.plot.element);
    this.caption = createElement("figcaption", "chart-sentence");
    this.element.append(head, this.box, this.caption, this.dataLinks(title));
    this.element.setAttribute("aria-label", title);
  }

  dataLinks(title) {
    const links = createElement("div", "plot-data small");
    this.table = createElement("details", "", createElement("summary", "", gettext("As a table")));
    this.table.addEventListener("toggle", () => this.showTable());
    this.csvLink = createElement("a", "", gettext("CSV"));
    this.csvLink.append(createElement("span", "visually-hidden", `: ${title}`));
    this.csvLink.download = "";
    links.append(this.table, this.csvLink);
    return links;
  }

  describe(sentences) {
    this.caption.textContent = sentences.filter(Boolean).join(" ");
  }

  set(lines) {
    this.lines = lines;
    this.plot.set(lines);
    this.showValues();
    this.showTable();
  }

  resize() {
    this.plot.resize(this.box.clientWidth);
  }

  // the steps, and for each line its values at them, null where it has none
  get data() {
    const { places } = this.plot;
    return [places, ...this.lines.map(({ points }) => {
      const values = new Map(points);
      return places.map((step) => values.get(step) ?? null);
    })];
  }

  // the values under the cursor, or the newest ones
  showValues() {
    const step = this.plot.cursor;
    const shown = this.lines.map(({ name, points }) => [name, step === null ? points.at(-1)?.[1] : points.find(([x]) => x === step)?.[1]]);
    const several = this.lines.length > 1;
    const keys = shown.map(([name, value], number) => {
      const key = createElement("span", "chart-key");
      if (several) key.append(lineKey(number), `${name} `);
      key.append(createElement("strong", "", value === undefined ? "–" : formatValue(value, this.metric.percent)));
      return key;
    });
    const place = step === null ? [] : [gettext("step %(step)s", { step: step.toLocaleString(document.documentElement.lang) })];
    if (place.length) keys.unshift(createElement("span", "muted", place[0]));
    this.values.replaceChildren(...keys);
    const texts = shown.map(([name, value]) => `${several ? `${name}: ` : ""}${value === undefined ? "–" : formatValue(value, this.metric.percent)}`);
    this.plot.element.setAttribute("aria-valuetext", [...place, ...texts].join(", "));
  }

  // made when it is opened: a run may have thousands of steps
  showTable() {
    this.table.querySelector(".table-wrap")?.remove();
    if (!this.table.open) return;
    const [steps, ...columns] = this.data;
    const table = createElement("table", "table");
    const head = table.createTHead().insertRow();
    for (const name of [gettext("step"), ...this.lines.map((line) => line.name)]) {
      const cell = createElement("th", "", name);
      cell.scope = "col";
      head.append(cell);
    }
    const body = table.createTBody();
    steps.forEach((step, n) => {
      const row = body.insertRow();
      const heading = createElement("th", "", step.toLocaleString(document.documentElement.lang));
      heading.scope = "row";
      row.append(heading, ...columns.map((values) => createElement("td", "", values[n] === null ? "" : formatValue(values[n], this.metric.percent))));
    });
    const wrap = createElement("div", "table-wrap", table);
    wrap.tabIndex = 0;
    wrap.setAttribute("role", "group");
    wrap.setAttribute("aria-label", this.element.getAttribute("aria-label"));
    this.table.append(wrap);
  }
}

export function labelOf(known, name) {
  return known.metrics[name] || { label: name.replaceAll("_", " "), description: "", percent: false, unit: "", reference: null };
}

function sorted(points) {
  return [...points].toSorted((a, b) => a[0] - b[0]);
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

export function formatValue(value, percent) {
  if (percent) return `${(100 * value).toFixed(1)}%`;
  if (Number.isInteger(value)) return value.toLocaleString(document.documentElement.lang);
  const size = Math.abs(value);
  if (size >= 100) return value.toLocaleString(document.documentElement.lang, { maximumFractionDigits: size < 1000 ? 1 : 0 });
  return size < 1e-3 ? value.toExponential(2) : value.toPrecision(3);
}
