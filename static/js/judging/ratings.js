// What is asked of an answer beside its rank: quality and other ratings, safe or unsafe, flags. And undo, for every choice on
// a screen.
import { announce, answers, currentAnswer, judgeForm, letterOf, work } from "./dom.js";
import { gettext } from "../gettext.js";
import { saveDraftSoon } from "./drafts.js";
import { currentScreen } from "./screen.js";
import { commandOf, ratingOf } from "./shortcuts.js";

const choices = () => [...judgeForm().querySelectorAll("input[type=radio], input[type=checkbox]")];
const checkedStates = () => choices().map((input) => input.checked);

// --- undo -----------------------------------------------------------------------------------------------------

const histories = new WeakMap(); // by #work: earlier states, so that a screen that comes back can still be undone
let latest = [];

const pastStates = () => histories.get(work()) ?? histories.set(work(), []).get(work());

// Keep the state before a change, for undo. True where something has changed.
export function recordChange() {
  const states = checkedStates();
  if (String(states) === String(latest)) return false;
  pastStates().push(latest);
  latest = states;
  return true;
}

function undo() {
  if (!pastStates().length) return false;
  latest = pastStates().pop();
  choices().forEach((input, i) => (input.checked = latest[i]));
  show();
  currentScreen().show?.();
  announce(`${gettext("Undone.")} ${currentScreen().summary?.() ?? ""}`);
  saveDraftSoon();
  return true;
}

// --- what was chosen ------------------------------------------------------------------------------------------

function ratingsOf(answer) {
  const value = (name) => answer.querySelector(`input[name^="${name}-"]:checked`)?.value;
  return { quality: value("quality"), safe: value("safe"), flags: answer.querySelectorAll('input[name^="flags-"]:checked').length };
}

function chooseSafety(answer, value) {
  const input = answer.querySelector(`input[name^="safe-"][value="${value}"]`);
  if (!input) return false;
  input.checked = true;
  input.dispatchEvent(new Event("change", { bubbles: true }));
  const letter = letterOf(answer);
  announce(value === "safe" ? gettext("Answer %(letter)s: safe.", { letter }) : gettext("Answer %(letter)s: unsafe.", { letter }));
  return true;
}

export function show() {
  for (const answer of answers()) {
    const count = answer.querySelector("[data-count]");
    if (count) count.textContent = ratingsOf(answer).flags || "";
    answer.classList.toggle("is-unsafe", ratingsOf(answer).safe === "unsafe");
  }
  const button = document.getElementById("undo");
  if (button) button.disabled = !pastStates().length;
}

function answersWithout(name) {
  return answers().filter((answer) => answer.querySelector(`input[name^="${name}-"]`) && !ratingsOf(answer)[name]);
}

// The ratings of an answer, in the order shown: its quality, and one by each criterion of the project's own.
const scales = (answer) => [...answer.querySelectorAll(".rating.quality")];
const isRated = (scale) => scale.querySelector(":checked") !== null;

// Rates the first of them that has no rating yet, or else the last.
function rate(answer, value) {
  const scale = scales(answer).find((each) => !isRated(each)) ?? scales(answer).at(-1);
  const input = scale?.querySelector(`input[value="${value}"]`);
  if (!input) return false;
  input.checked = true;
  input.dispatchEvent(new Event("change", { bubbles: true }));
  const rated = { letter: letterOf(answer), label: scale.dataset.label?.toLowerCase() ?? gettext("quality"), value, highest: scale.querySelectorAll("input").length };
  announce(gettext("Answer %(letter)s: %(label)s %(value)s of %(highest)s.", rated));
  return true;
}

function missingCriterion() {
  for (const scale of work().querySelectorAll(".criterion[data-required]")) {
    if (isRated(scale)) continue;
    const { criterion, label } = scale.dataset;
    const missing = answers().filter((answer) => !isRated(answer.querySelector(`[data-criterion="${criterion}"]`)));
    const text = gettext("%(label)s: every answer needs a rating; missing: %(missing)s.", { label, missing: missing.map(letterOf).join(", ") });
    return { text, element: missing[0] };
  }
  return null;
}

function missingText() {
  for (const field of judgeForm().querySelectorAll(".rationale textarea")) {
    const [length, least] = [field.value.trim().length, Number(field.dataset.min ?? 0)];
    const label = field.labels[0].firstElementChild.textContent;
    if (field.required && !length) return { text: field.id === "rationale" ? gettext("Say in a few words why.") : gettext("%(label)s: write a few words.", { label }), element: field };
    if (length && length < least) return { text: gettext("%(label)s: at least %(least)s characters, please; there are %(length)s.", { label, least, length }), element: field };
  }
  return null;
}

// Why the server would refuse a submit, and the element to correct; null where it would not.
export function findProblem() {
  for (const name of ["quality", "safe"]) {
    const answersMissing = answersWithout(name);
    const missing = answersMissing.map(letterOf).join(", ");
    const text = name === "quality"
      ? gettext("Every answer needs a quality from 1 to 7; missing: %(missing)s.", { missing })
      : gettext("Every answer is to be called safe or unsafe; missing: %(missing)s.", { missing });
    if (missing) return { text, element: answersMissing[0] };
  }
  return missingCriterion() ?? missingText();
}

// --- keys -----------------------------------------------------------------------------------------------------

function toggleFlags(answer) {
  const flags = answer?.querySelector("details.flags:not(.comments)");
  if (!flags) return false;
  flags.open = !flags.open;
  if (flags.open) flags.querySelector("input").focus();
  else answer.focus({ preventScroll: true });
  return true;
}

export function handleKey(event) {
  const answer = currentAnswer();
  if (!answer) return false;
  const rating = ratingOf(event);
  if (rating) return rate(answer, rating);
  if (event.key === "Escape" && event.target.closest("details.flags")) return toggleFlags(answer);
  switch (commandOf(event)) {
    case "safe": return chooseSafety(answer, "safe");
    case "unsafe": return chooseSafety(answer, "unsafe");
    case "flags": return toggleFlags(answer);
    case "undo": return undo();
    default: return false;
  }
}

document.addEventListener("change", (event) => {
  if (!event.target.closest("#judge") || !event.target.matches("[type=radio], [type=checkbox]")) return;
  if (recordChange()) show();
});
document.addEventListener("click", (event) => {
  if (event.target.closest("#undo")) undo();
  // opening one answer's flags closes the others', so that the page stays short
  const opened = event.target.closest("details.flags");
  if (opened) for (const flags of work().querySelectorAll("details.flags[open]")) if (flags !== opened) flags.open = false;
});

export function start() {
  judgeForm().noValidate = true;
  latest = checkedStates();
  if (work().querySelector("details.comments")) import("./comments.js").then((comments) => comments.start());
  show();
}
