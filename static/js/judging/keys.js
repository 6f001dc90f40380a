// The keys of all judging screens. Each screen's own keys are in its module.
import * as diff from "./diff.js";
import { answers, currentAnswer, goTo, judgeForm, work } from "./dom.js";
import { toggleLength } from "./long-texts.js";
import * as ratings from "./ratings.js";
import { currentScreen } from "./screen.js";
import { answerOf, areOff, commandOf, digitOf } from "./shortcuts.js";
import { goBack, reviseLast } from "./submit.js";
import * as view from "./view.js";

const isTyping = (element) => element.matches("input:not([type=radio], [type=checkbox]), textarea, select, [contenteditable]");
const typesCharacter = (event) => event.key.length === 1 && event.key !== " ";

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.altKey) return;
  if (isTyping(event.target)) return typingKey(event);
  if (event.ctrlKey || event.metaKey || event.isComposing || (areOff && typesCharacter(event))) return;
  if (event.target.closest("#view form") && commandOf(event) !== "view") return;
  const dialog = document.querySelector("dialog[open]");
  const isHandled = dialog
    ? dialogKey(dialog, event)
    : answerKey(event) || currentScreen()?.handleKey(event) || ratings.handleKey(event) || view.handleKey(event) || commonKey(event);
  if (isHandled) event.preventDefault();
});

// In a text, Ctrl Enter submits and Escape leaves it.
function typingKey(event) {
  if (!event.target.closest("#judge")) return;
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    const submit = document.getElementById("submit");
    if (submit) judgeForm().requestSubmit(submit);
  } else if (event.key === "Escape") {
    event.preventDefault();
    if (answers().length) goTo(currentAnswer());
    else work().querySelector("h1").focus();
  }
}

function dialogKey(dialog, event) {
  if (dialog.id === "diff") return diff.handleKey(event);
  if (dialog.id !== "skip") return false;
  const button = dialog.querySelectorAll("button[name=reason]")[digitOf(event) - 1];
  button?.click();
  return Boolean(button);
}

function answerKey(event) {
  const answer = answerOf(event);
  if (answer) goTo(answer);
  return Boolean(answer);
}

const COMMANDS = {
  keys: () => document.getElementById("keys").showModal(),
  skip: () => document.getElementById("skip")?.showModal(),
  ask: () => document.getElementById("ask")?.showModal(),
  guidelines: () => document.getElementById("open-guidelines")?.click(),
  undo: reviseLast,
  differences: () => answers().length > 1 && diff.openForAnswer(currentAnswer()),
  expand: toggleText,
  previous: () => (work().querySelector("[data-back]") ? goBack() : false),
  view: view.toggleMenu,
  source: toggleSource,
};

function commonKey(event) {
  const command = COMMANDS[commandOf(event)];
  if (command) return command() !== false;
  return event.key === " " || event.key === "PageDown" || event.key === "PageUp" ? scrollAnswer(event) : false;
}

function toggleSource() {
  const part = document.activeElement.closest(".conversation, .answer") ?? currentAnswer() ?? work();
  part.querySelector(".source-toggle")?.click();
}

function toggleText() {
  const earlier = document.activeElement.closest(".conversation")?.querySelector(".earlier");
  const box = (document.activeElement.closest(".answer") ?? currentAnswer())?.querySelector(".clamp");
  if (earlier) earlier.open = !earlier.open;
  else if (box) toggleLength(box);
}

// With an answer in focus, the keys that scroll a page scroll that answer.
function scrollAnswer(event) {
  const box = event.target.matches(".answer") ? event.target.querySelector(".clamp.is-long:not(.is-open)") : null;
  if (!box) return false;
  const up = event.key === "PageUp" || (event.key === " " && event.shiftKey);
  box.scrollBy({ top: (up ? -0.85 : 0.85) * box.clientHeight });
  return true;
}
