// The curves of several runs over one another: a chart for each metric, a line for each run. Which runs, is chosen on the page.
import { Card, labelOf } from "./charts.js";
import { gettext } from "./gettext.js";
import { showToast } from "./toasts.js";

export let cards = [];
const observer = new ResizeObserver(() => cards.forEach((card) => card.resize()));

function draw() {
  observer.disconnect();
  cards = [];
  const box = document.getElementById("charts");
  if (!box) return;
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
  observer.observe(box);
}

// A choice is shown at once, and the choosing goes on. Not by htmx, which takes out the element that has the points: a script.
let asked = "";

async function show(address) {
  asked = address;
  try {
    const response = await fetch(address);
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const curves = page.getElementById("curves");
    if (asked !== address) return; // another choice was made meanwhile
    if (!curves) return location.assign(address); // signed out, or an error: the page says which
    document.getElementById("curves").replaceWith(document.adoptNode(curves));
    history.replaceState(null, "", address);
    draw();
  } catch {
    if (asked === address) showToast(gettext("The curves cannot be loaded now. Choose again."), "warn");
  }
}

document.querySelector("[data-run-choice]")?.addEventListener("change", ({ currentTarget: form }) => {
  show(`${form.action}?${new URLSearchParams(new FormData(form))}`);
});
draw();
