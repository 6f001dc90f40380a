// A chat: the message is sent, two answers are written before the reader's eyes, and a press chooses one of them.
import { gettext } from "../gettext.js";
import "../sources.js";
import { showToast } from "../toasts.js";
import { followAnswers } from "./answer-stream.js";
import * as compare from "./compare.js";
import * as diff from "./diff.js";
import { forgetText, restoreText } from "./composer.js";
import { dropDraft } from "./device.js";
import { announce, answerByLetter, answers, currentAnswer, goTo, judgeForm, work } from "./dom.js";
import { cancelDraft } from "./drafts.js";
import { pinIfWide } from "./guidelines.js";
import { toggleLength } from "./long-texts.js";
import * as ratings from "./ratings.js";
import { registerScreens, secondsShown, startScreen } from "./screen.js";
import { answerOf, areOff, commandOf } from "./shortcuts.js";
import * as view from "./view.js";

registerScreens({ compare });
const RETRY_MS = 2_000;
let stopFollowing = null;
let shown = {}; // how many characters of each side

// --- the answers while they are written -------------------------------------------------------------------------

const textOf = (side) => answerByLetter(side.toUpperCase())?.querySelector(".streaming");

function addPiece({ side, offset, text }) {
  const box = textOf(side);
  const due = shown[side] ?? 0;
  if (!box || offset < due) return;
  if (offset > due && due) box.append(" … "); // what was lost meanwhile comes with the whole answer
  box.append(text);
  shown[side] = offset + [...text].length;
}

// Something was typed above that the answers would replace.
const isTypedAbove = () => [...work().querySelectorAll(".thread textarea")].some((field) => field.value !== field.defaultValue);

function showAnswers() {
  if (!isTypedAbove()) return loadAnswers();
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: gettext("Show the answers") });
  button.classList.add("button", "small");
  button.addEventListener("click", loadAnswers);
  work().querySelector("[data-waiting]").replaceChildren(button);
  announce(gettext("Both answers are complete."));
  return undefined;
}

async function loadAnswers() {
  const { turn } = work().dataset;
  await htmx.ajax("GET", work().dataset.url, { target: "#work", swap: "outerHTML" }).catch(() => {});
  // the site may be away for a moment
  if (work().dataset.turn === turn && ["waiting", "answering"].includes(work().dataset.state)) setTimeout(loadAnswers, RETRY_MS);
}

function follow() {
  stopFollowing?.();
  stopFollowing = null;
  const { state, streamUrl, eventsUrl } = work().dataset;
  if (state !== "waiting" && state !== "answering") return;
  shown = {};
  stopFollowing = followAnswers({
    streamUrl,
    eventsUrl,
    onPiece: addPiece,
    onRestart: ({ side }) => {
      shown[side] = 0;
      textOf(side)?.replaceChildren();
    },
    onEnd: showAnswers,
  });
}

// --- the page ---------------------------------------------------------------------------------------------------

function start({ isFirst = false } = {}) {
  startScreen();
  follow();
  restoreText();
  const { kind, state } = work().dataset;
  const field = work().querySelector("[data-composer]");
  const problem = work().querySelector("[role=alert]:not([hidden])");
  forgetText(new URL(work().querySelector("[data-list]").href).pathname); // the first message has been sent
  if (state === "failed") document.getElementById("retry")?.focus();
  if (problem) {
    problem.scrollIntoView({ block: "nearest" }); // and it is read aloud
    return;
  }
  if (kind === "compare") {
    if (!isFirst) goTo(answers()[0]);
    announce(gettext("Both answers are complete. Choose one with the keys 1 to 8."));
  } else if (field) {
    if (!isFirst) field.focus();
    announce(gettext("Your turn: write the next message."));
  } else if (state) {
    if (!isFirst) work().querySelector("h1").focus({ preventScroll: true });
    announce(gettext("Sent. Two models are answering."));
  }
  // what is done now, below what may be a long conversation
  if (work().querySelector(".thread")) work().querySelector(".message.is-current, .better")?.scrollIntoView({ block: "start" });
}

let chosen = ""; // in words, until the page that follows is there

document.addEventListener("htmx:afterSwap", ({ detail }) => {
  if (detail.target.id !== "work" && detail.elt.id !== "work") return;
  start();
  if (chosen && !work().querySelector("[role=alert]:not([hidden])")) showToast(gettext("Saved: %(choice)s", { choice: chosen }));
  chosen = "";
});
// of a form that was replaced the event comes from what it was in
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  const form = detail.requestConfig?.elt;
  if (detail.xhr.status >= 400) return;
  if (form?.matches("form.composer")) forgetText();
  if (form?.id !== "judge") return;
  dropDraft(work().dataset.item);
  chosen = form.querySelector(".is-pressed")?.title ?? "";
});
document.addEventListener("htmx:afterRequest", () => {
  for (const form of document.querySelectorAll("form.composer[aria-busy]")) form.ariaBusy = null;
});
for (const name of ["htmx:sendError", "htmx:responseError", "htmx:timeout"]) {
  document.addEventListener(name, ({ detail }) => {
    if (detail.requestConfig?.verb === "post") announce(gettext("It could not be sent. What you entered is still here: try again."));
  });
}

// --- choosing ---------------------------------------------------------------------------------------------------

document.addEventListener("submit", (event) => {
  if (event.target !== judgeForm()) return;
  const problem = compare.findProblem(event.submitter);
  if (problem && !problem.isForServer) {
    event.preventDefault();
    event.stopImmediatePropagation();
    if (problem.text) announce(problem.text);
    problem.element?.scrollIntoView({ block: "nearest" });
    showProblem(problem.text);
    return;
  }
  event.submitter?.classList.add("is-pressed");
  cancelDraft();
}, true);

document.addEventListener("htmx:configRequest", ({ detail }) => {
  if (detail.elt === judgeForm()) detail.parameters.set("seconds", secondsShown(work()).toFixed(1));
});

function showProblem(text) {
  const errors = document.getElementById("errors");
  if (!text || !errors) return;
  const notice = Object.assign(document.createElement("div"), { textContent: text });
  notice.classList.add("notice", "danger");
  errors.replaceChildren(notice);
}

// --- keys -------------------------------------------------------------------------------------------------------

const isTyping = (element) => element.matches("input:not([type=radio], [type=checkbox]), textarea, select, [contenteditable]");
const COMMANDS = {
  keys: () => document.getElementById("keys").showModal(),
  ask: () => document.getElementById("ask")?.showModal(),
  guidelines: () => document.getElementById("open-guidelines")?.click(),
  view: view.toggleMenu,
  differences: () => answers().length > 1 && diff.openForAnswer(currentAnswer()),
  expand: () => currentAnswer()?.querySelector(".clamp") && toggleLength(currentAnswer().querySelector(".clamp")),
};

// Whoever types, with nothing in focus or while the answers arrive, does not give commands: a key is one only after a pause, and
// not while a text above waits to be sent.
const QUIET_MS = 700;
let lastKeyAt = -Infinity;

function isPartOfText(event) {
  const msBefore = event.timeStamp - lastKeyAt;
  lastKeyAt = event.timeStamp;
  return event.key.length === 1 && (msBefore < QUIET_MS || isTypedAbove());
}

document.addEventListener("keydown", (event) => {
  if (isPartOfText(event)) return;
  if (event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey || event.isComposing) return;
  const dialog = document.querySelector("dialog[open]");
  if (dialog?.id === "diff" && diff.handleKey(event)) return event.preventDefault();
  if (isTyping(event.target) || dialog) return;
  if (areOff && event.key.length === 1 && event.key !== " ") return;
  const answer = answerOf(event);
  const isChoosing = work().dataset.kind === "compare";
  if (answer) goTo(answer);
  else if (isChoosing && (compare.handleKey(event) || ratings.handleKey(event) || view.handleKey(event))) { /* done */ }
  else if (!COMMANDS[commandOf(event)]?.()) return;
  event.preventDefault();
});

start({ isFirst: true });
pinIfWide();
