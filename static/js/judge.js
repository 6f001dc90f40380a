// What all the annotators' screens share: which one is shown, long texts, the keys. How things are sent is in submit.js and
// drafts.js. Everything works without scripts too, by plain forms; with them it becomes quick.
"use strict";

const screens = {}; // by data-kind: {start(work), key(event), refuses(submitter)}
let screen = null;
let shownAt = 0;

const work = () => document.getElementById("work");
const judgeForm = () => document.getElementById("judge");
const answers = () => [...work().querySelectorAll(".answer")];
const letterOf = (answer) => answer.dataset.letter;

function say(text) {
  document.getElementById("said").textContent = text;
}

function startScreen() {
  shownAt = performance.now();
  screen = screens[work().dataset.kind] ?? null;
  screen?.start(work());
  for (const part of document.querySelectorAll("#keys [data-for]")) part.hidden = !part.dataset.for.split(" ").includes(work().dataset.kind);
  work().querySelectorAll(".clamp").forEach(watchLength);
  for (const code of work().querySelectorAll("pre")) if (code.scrollWidth > code.clientWidth) code.tabIndex = 0;
}

document.addEventListener("DOMContentLoaded", startScreen);

// --- long texts ---------------------------------------------------------------------------------------------

const lengths = new ResizeObserver((entries) => entries.forEach((entry) => checkLength(entry.target)));

function watchLength(box) {
  lengths.observe(box);
  checkLength(box);
}

// A text that does not fit scrolls in its own box, and a button shows all of it.
function checkLength(box) {
  const isLong = box.classList.contains("is-open") || box.scrollHeight > box.clientHeight + 8;
  box.classList.toggle("is-long", isLong);
  const known = box.nextElementSibling?.classList.contains("more") ? box.nextElementSibling : null;
  if (known) known.hidden = !isLong;
  if (known || !isLong) return;
  box.tabIndex = 0;
  box.setAttribute("role", "region");
  box.setAttribute("aria-label", `Text of ${box.dataset.name}`);
  const more = document.createElement("button");
  more.type = "button";
  more.className = "more";
  more.textContent = `Show all of ${box.dataset.name}`;
  more.setAttribute("aria-expanded", "false");
  box.after(more);
}

function toggleLength(box) {
  const more = box.nextElementSibling;
  if (!more?.classList.contains("more")) return;
  const isOpen = box.classList.toggle("is-open");
  more.textContent = `${isOpen ? "Show less" : "Show all"} of ${box.dataset.name}`;
  more.setAttribute("aria-expanded", String(isOpen));
  if (!isOpen) box.parentElement.scrollIntoView({ block: "nearest" });
}

document.addEventListener("click", (event) => {
  const more = event.target.closest(".more");
  if (more) toggleLength(more.previousElementSibling);
});

// --- the answer in hand -------------------------------------------------------------------------------------

// The marked answer is the one that a digit ranks and that the letters D, F and X are about.
const current = () => work().querySelector(".answer.is-current") ?? answers()[0];

function mark(answer) {
  for (const one of answers()) one.classList.toggle("is-current", one === answer);
}

function goTo(answer) {
  mark(answer);
  answer.focus({ preventScroll: true });
  answer.scrollIntoView({ block: "nearest" });
}

document.addEventListener("focusin", (event) => {
  const answer = event.target.closest(".answer");
  if (answer) mark(answer);
});

function answerByLetter(key) {
  return /^[a-iA-I]$/.test(key) ? work().querySelector(`.answer[data-letter="${key.toUpperCase()}"]`) : null;
}

// --- keys ---------------------------------------------------------------------------------------------------

const isTyping = (element) => element.matches("input:not([type=radio], [type=checkbox]), textarea, select, [contenteditable]");

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.altKey) return;
  if (isTyping(event.target)) return typingKey(event);
  if (event.ctrlKey || event.metaKey) return;
  const open = document.querySelector("dialog[open]");
  if (open) return dialogKey(open, event);
  if (letterKey(event) || screen?.key(event) || marks.key(event) || commonKey(event)) event.preventDefault();
});

// In a text, Ctrl Enter submits and Escape gives the keys back.
function typingKey(event) {
  if (!event.target.closest("#judge")) return;
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    const submit = document.getElementById("submit");
    if (submit) judgeForm().requestSubmit(submit);
  } else if (event.key === "Escape") {
    event.preventDefault();
    if (answers().length) goTo(current());
    else work().querySelector("h1").focus();
  }
}

function dialogKey(open, event) {
  if (open.id === "diff") {
    if (differences.key(event)) event.preventDefault();
    return;
  }
  if (open.id !== "skip") return;
  const button = open.querySelectorAll("button[name=reason]")[Number(event.key) - 1];
  if (!button) return;
  event.preventDefault();
  button.click();
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
  else if (key === "g") document.getElementById("open-guidelines")?.click();
  else if (key === "d" && answers().length > 1) differences.open(current());
  else if (key === "x") {
    const box = document.activeElement.closest(".answer, .conversation")?.querySelector(".clamp") ?? current()?.querySelector(".clamp");
    if (box) toggleLength(box);
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
