// The curves of several runs over one another: a chart for each metric, a line for each run.
import { Card, labelOf } from "./charts.js";

export const cards = [];
const box = document.getElementById("charts");
if (box) {
  const { known, metrics, runs } = JSON.parse(document.getElementById("run-curves").textContent);
  metrics.forEach((name, place) => {
    const metric = labelOf(known, name);
    const card = new Card({ title: metric.label, large: place < 2, metric });
    card.element.dataset.chart = name;
    card.csvLink.href = `${box.dataset.csvUrl}&${new URLSearchParams({ metric: name })}`;
    card.describe([metric.description]);
    box.append(card.element);
    card.resize();
    // a run keeps its line's style in every chart, also where another run lacks the metric
    card.set(runs.map((run) => ({ name: run.name, points: run.curves[name] ?? [] })));
    cards.push(card);
  });
  new ResizeObserver(() => cards.forEach((card) => card.resize())).observe(box);
}
