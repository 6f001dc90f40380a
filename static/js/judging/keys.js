// The keys of all judging screens. Each screen's own keys are in its module.
import * as diff from "./diff.js";
import { answerByLetter, answers, currentAnswer, goTo, judgeForm, work } from "./dom.js";
import { toggleLength } from "./long-texts.js";
import * as ratings from "./ratings.js";
import { currentScreen } from "./screen.js";
import { reviseLast } from "./submit.js";

const isTyping = (element) => element.matches("input:not([type=radio], [type=checkbox]), textarea, select, [contenteditable]");

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.altKey) return;
  if (isTyping(event.target)) return typingKey(event);
  if (event.ctrlKey || event.metaKey) return;
  const dialog = document.querySelector("dialog[open]");
  const isHandled = dialog
    ? dialogKey(dialog, event)
    : letterKey(event) || currentScreen()?.handleKey(event) || ratings.handleKey(event) || commonKey(event);
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
  const button = dialog.querySelectorAll("button[name=reason]")[Number(event.key) - 1];
  button?.click();
  return Boolean(button);
}

function letterKey(event) {
  const answer = event.shiftKey ? null : answerByLetter(event.key);
  if (answer) goTo(answer);
  return Boolean(answer);
}

function commonKey(event) {
  const key = event.key.toLowerCase();
  if (key === "?") document.getElementById("keys").showModal();
  else if (key === "s") document.getElementById("skip")?.showModal();
  else if (key === "q") document.getElementById("ask")?.showModal();
  else if (key === "g") document.getElementById("open-guidelines")?.click();
  else if (key === "u") return reviseLast();
  else if (key === "d" && answers().length > 1) diff.openForAnswer(currentAnswer());
  else if (key === "x") {
    const earlier = document.activeElement.closest(".conversation")?.querySelector(".earlier");
    const box = (document.activeElement.closest(".answer") ?? currentAnswer())?.querySelector(".clamp");
    if (earlier) earlier.open = !earlier.open;
    else if (box) toggleLength(box);
  } else if (key === " " || key === "pagedown" || key === "pageup") return scrollAnswer(event);
  else return false;
  return true;
}

// With an answer in focus, the keys that scroll a page scroll that answer.
function scrollAnswer(event) {
  const box = event.target.matches(".answer") ? event.target.querySelector(".clamp.is-long:not(.is-open)") : null;
  if (!box) return false;
  const up = event.key === "PageUp" || (event.key === " " && event.shiftKey);
  box.scrollBy({ top: (up ? -0.85 : 0.85) * box.clientHeight });
  return true;
}
