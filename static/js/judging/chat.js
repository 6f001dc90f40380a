// A chat: the message is sent, two answers are written before the reader's eyes, and a press chooses one of them.
import { gettext } from "../gettext.js";
import "../sources.js";
import { followAnswers } from "./answer-stream.js";
import * as compare from "./compare.js";
import * as diff from "./diff.js";
import { forgetText, restoreText } from "./composer.js";
import { announce, answerByLetter, answers, currentAnswer, goTo, judgeForm, work } from "./dom.js";
import { pinIfWide } from "./guidelines.js";
import { toggleLength } from "./long-texts.js";
import * as ratings from "./ratings.js";
import { registerScreens, secondsShown, startScreen } from "./screen.js";
import { answerOf, areOff, commandOf } from "./shortcuts.js";
import * as view from "./view.js";

registerScreens({ compare });
let stopFollowing = null;

// --- the answers while they are written -------------------------------------------------------------------------

const textOf = (side) => answerByLetter(side.toUpperCase())?.querySelector(".streaming");

function addPiece({ side, offset, text }) {
  const box = textOf(side);
  if (!box) return;
  // what was lost meanwhile comes with the whole answer
  if (offset > [...box.textContent].length && box.textContent) box.append(" … ");
  else if (offset < [...box.textContent].length) return;
  box.append(text);
}

function follow() {
  stopFollowing?.();
  stopFollowing = null;
  const { state, streamUrl, eventsUrl } = work().dataset;
  if (state !== "waiting" && state !== "answering") return;
  stopFollowing = followAnswers({
    streamUrl,
    eventsUrl,
    onPiece: addPiece,
    onRestart: ({ side }) => textOf(side)?.replaceChildren(),
    onEnd: () => htmx.ajax("GET", work().dataset.url, { target: "#work", swap: "outerHTML" }),
  });
}

// --- the page ---------------------------------------------------------------------------------------------------

function start({ isFirst = false } = {}) {
  startScreen();
  follow();
  restoreText();
  const { kind, state } = work().dataset;
  const field = work().querySelector("[data-composer]");
  if (kind === "compare") {
    if (!isFirst) goTo(answers()[0]);
    announce(gettext("Both answers are complete. Choose one with the keys 1 to 8."));
  } else if (field) {
    if (!isFirst) field.focus();
    announce(gettext("Your turn: write the next message."));
  } else if (state === "failed") {
    document.getElementById("again")?.focus();
  } else if (state) {
    announce(gettext("Sent. Two models are answering."));
  }
  if (!isFirst) work().querySelector(".is-current, .action-bar")?.scrollIntoView({ block: "nearest" });
}

document.addEventListener("htmx:afterSwap", ({ detail }) => {
  if (detail.target.id === "work" || detail.elt.id === "work") start();
});
document.addEventListener("htmx:afterRequest", ({ detail }) => {
  const form = detail.elt;
  if (!form.matches?.("form.composer")) return;
  form.ariaBusy = null;
  if (detail.successful) forgetText();
});
for (const name of ["htmx:sendError", "htmx:responseError", "htmx:timeout"]) {
  document.addEventListener(name, () => announce(gettext("It could not be sent. What you entered is still here: try again.")));
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
}, true);

document.addEventListener("htmx:configRequest", ({ detail }) => {
  if (detail.elt === judgeForm()) detail.parameters.set("seconds", secondsShown(work()).toFixed(1));
});

function showProblem(text) {
  const errors = document.getElementById("errors");
  if (!text || !errors) return;
  const notice = Object.assign(document.createElement("div"), { className: "notice danger", textContent: text });
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

document.addEventListener("keydown", (event) => {
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
