// A run's page: curves and progress as the worker reports them.
import { Charts, createElement, formatValue, newestOf } from "./charts.js";
import { gettext } from "./gettext.js";
import { openLiveSocket } from "./live-socket.js";

const page = document.getElementById("run");
const numbers = new Intl.NumberFormat(document.documentElement.lang);
const chartBox = document.getElementById("charts");
const csv = (names) => `${chartBox.dataset.csvUrl}&${new URLSearchParams(names.map((name) => ["metric", name]))}`;
export const charts = new Charts(chartBox, JSON.parse(document.getElementById("run-metrics").textContent), csv);

function showProgress({ step, total, eta_s: left }) {
  const bar = document.getElementById("bar");
  if (!bar) return; // the run is over
  bar.max = total || 1;
  bar.value = step;
  if (total) document.getElementById("steps").textContent = gettext("Step %(step)s of %(total)s", { step: numbers.format(step), total: numbers.format(total) });
  document.getElementById("eta").textContent = left == null ? "" : gettext("about %(duration)s left", { duration: durationInWords(left) });
}

function durationInWords(seconds) {
  const units = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
  const left = Math.round(seconds);
  const place = units.findIndex(([, size]) => left >= size);
  const counted = (number, unit) => number.toLocaleString(document.documentElement.lang, { style: "unit", unit, unitDisplay: "long" });
  if (place < 0) return counted(0, "second");
  const [unit, size] = units[place];
  const whole = Math.floor(left / size);
  const [smaller, part] = units[place + 1] || ["", Infinity];
  const rest = Math.floor((left % size) / part);
  return whole < 10 && rest ? `${counted(whole, unit)} ${counted(rest, smaller)}` : counted(whole, unit);
}

const live = () => document.getElementById("live");

function showCurves() {
  if (charts.cards.size) chartBox.closest("section").hidden = false; // of a run that was resumed, too
  const none = document.getElementById("no-curves");
  if (none) none.hidden = charts.curves.size > 0;
  document.getElementById("newest")?.replaceChildren(...[...charts.curves].map(([name, points]) => {
    const { label, description, percent } = charts.label(name);
    const [step, value] = newestOf(points);
    const row = document.createElement("tr");
    const heading = createElement("th", "nowrap", label);
    heading.scope = "row";
    row.append(heading, createElement("td", "number", formatValue(value, percent)), createElement("td", "number", numbers.format(step)), createElement("td", "small muted", description));
    return row;
  }));
}

function showState(state) {
  // buttons, results and texts come from the server
  if (live().dataset.state !== state) refetch();
}

async function refetch() {
  await htmx.ajax("GET", page.dataset.liveUrl, { target: "#live", swap: "outerHTML" });
  if (live().dataset.state === "done") document.getElementById("latest")?.remove(); // the result has them all
}

function showWarning(message) {
  const list = document.getElementById("warnings");
  if ([...list.children].some((line) => line.textContent === message)) return;
  const line = document.createElement("li");
  line.className = "notice warn";
  line.textContent = message;
  list.append(line);
  list.hidden = false;
}

function onEvent(event) {
  switch (event.kind) {
    case "everything":
      charts.set(event.curves);
      showCurves();
      showProgress(event);
      event.warnings.forEach(showWarning);
      showState(event.state);
      break;
    case "metrics":
      charts.add(event.step, event.values);
      showCurves();
      break;
    case "progress":
      showProgress(event);
      break;
    case "warning":
      showWarning(event.message);
      break;
    case "state":
      refetch();
      break;
  }
}

document.getElementById("refresh")?.remove();
charts.fewest = "open" in live().dataset ? 1 : 2; // of a run that is over, one point is no curve
charts.set(JSON.parse(document.getElementById("run-state").textContent).curves);
openLiveSocket(page.dataset.runSocket, onEvent);
