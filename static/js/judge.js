// What the Rank and the Compare screen share: the keys, submitting, drafts, and what to do when the server is not there.
// Everything works without this file too, by plain forms; here it becomes quick.
"use strict";

const screens = {}; // by data-kind: {start(work), key(event)}
let screen = null;
let shownAt = 0;
let lastSubmit = null; // what sent a form last, to send it again
let lastSaid = null; // what the last submit of this item said

const work = () => document.getElementById("work");
const judgeForm = () => document.getElementById("judge");

function say(text) {
  document.getElementById("said").textContent = text;
}

function startScreen() {
  shownAt = performance.now();
  lastSaid = null;
  screen = screens[work().dataset.kind] ?? null;
  screen?.start(work());
  for (const list of document.querySelectorAll("#keys [data-for]")) list.hidden = list.dataset.for !== work().dataset.kind;
  work().querySelectorAll(".clamp").forEach(watchLength);
  for (const code of work().querySelectorAll("pre")) if (code.scrollWidth > code.clientWidth) code.tabIndex = 0;
}

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
  box.setAttribute("aria-label", box.dataset.name);
  const more = document.createElement("button");
  more.type = "button";
  more.className = "more";
  more.textContent = `Show all of ${box.dataset.name}`;
  more.setAttribute("aria-expanded", "false");
  more.addEventListener("click", () => toggleLength(box));
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

// --- keys ---------------------------------------------------------------------------------------------------

const isTyping = (element) => element.matches("input:not([type=radio], [type=checkbox]), textarea, select, [contenteditable]");

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
  const open = document.querySelector("dialog[open]");
  if (open) {
    if (open.id === "skip") pressReason(open, event);
    return;
  }
  if (screen?.key(event) || commonKey(event)) event.preventDefault();
});

function pressReason(dialog, event) {
  const button = dialog.querySelectorAll("button[name=reason]")[Number(event.key) - 1];
  if (!button) return;
  event.preventDefault();
  button.click();
}

function commonKey(event) {
  if (event.key === "?") document.getElementById("keys").showModal();
  else if (event.key === "s") document.getElementById("skip")?.showModal();
  else if (event.key === "g" || event.key === "G") document.getElementById("open-guidelines")?.click();
  else if (event.key === "x") {
    const box = document.activeElement.closest(".answer, .conversation")?.querySelector(".clamp");
    if (box) toggleLength(box);
  } else if (event.key === " " || event.key === "PageDown" || event.key === "PageUp") return scrollAnswer(event);
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

function goTo(answer) {
  answer.focus({ preventScroll: true });
  answer.scrollIntoView({ block: "nearest" });
}

function answerByLetter(key) {
  return /^[a-iA-I]$/.test(key) ? work().querySelector(`.answer[data-letter="${key.toUpperCase()}"]`) : null;
}

// --- submitting ---------------------------------------------------------------------------------------------

document.addEventListener("submit", (event) => {
  lastSubmit = event.submitter ? () => event.submitter.click() : () => event.target.requestSubmit();
  if (event.target === judgeForm()) keepKeyHonest(event.target, event.submitter);
}, true);

// The same said again carries the same key, and is kept once. If it failed and something else is said now, that is
// another submit: should the first one have arrived after all, the server says that it stands.
function keepKeyHonest(form, submitter) {
  const data = new FormData(form, submitter);
  data.delete("key");
  data.delete("csrfmiddlewaretoken");
  const said = new URLSearchParams(data).toString();
  if (lastSaid !== null && lastSaid !== said) form.elements.key.value = newKey();
  lastSaid = said;
}

function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

document.addEventListener("htmx:beforeRequest", (event) => {
  if (!event.target.closest("#work")) return;
  cancelDraft();
  document.getElementById("not-saved").hidden = true;
  work().setAttribute("aria-busy", "true");
});

// An answer from another address is a redirect, to the sign-in page: the screen stays as it is.
document.addEventListener("htmx:beforeSwap", (event) => {
  const { xhr, pathInfo } = event.detail;
  if (event.detail.target.id !== "work" || !xhr.responseURL) return;
  if (new URL(xhr.responseURL).pathname === new URL(pathInfo.requestPath, location).pathname) return;
  event.detail.shouldSwap = false;
  notSaved("You are signed out, and this is not saved yet. Sign in in another tab, then try again here.", true);
});

for (const name of ["htmx:sendError", "htmx:timeout"]) {
  document.addEventListener(name, (event) => {
    if (event.target.closest("#work")) notSaved("The server cannot be reached. This is not saved yet; nothing is lost.");
  });
}
document.addEventListener("htmx:responseError", (event) => {
  if (!event.target.closest("#work")) return;
  const { status } = event.detail.xhr;
  const refused = status === 403 || status === 404;
  if (refused) notSaved("This is not saved: you are signed out, or no longer in this project.", true);
  else notSaved(`The server could not save this (error ${status}). Nothing is lost.`);
});

// The page keeps what was entered and the form's key, so that trying again can never count twice.
function notSaved(text, signedOut = false) {
  const bar = document.getElementById("not-saved");
  document.getElementById("skip").close();
  bar.querySelector("span").textContent = text;
  bar.querySelector("a").hidden = !signedOut;
  bar.hidden = false;
  work().removeAttribute("aria-busy");
}

document.addEventListener("click", (event) => {
  if (event.target.closest("#not-saved button")) lastSubmit?.();
});

document.addEventListener("DOMContentLoaded", startScreen);
document.addEventListener("htmx:load", (event) => {
  if (event.target.id !== "work") return;
  startScreen();
  work().querySelector("h1").focus({ preventScroll: true });
});

// --- drafts -------------------------------------------------------------------------------------------------

const DRAFT_DELAY_MS = 500;
let draftTimer = null;
let sending = Promise.resolve();

function draftSoon() {
  clearTimeout(draftTimer);
  draftTimer = setTimeout(sendDraft, DRAFT_DELAY_MS);
}

function cancelDraft() {
  clearTimeout(draftTimer);
  draftTimer = null;
}

// One after the other, so that an older draft never replaces a newer one; a draft that fails is followed by the next.
function sendDraft() {
  cancelDraft();
  const form = judgeForm();
  const send = () => fetch(form.dataset.draft, { method: "POST", body: new URLSearchParams(new FormData(form)), headers: { "X-CSRFToken": csrfToken() }, keepalive: true });
  sending = sending.then(send).catch(() => {});
}

function sendDraftNow() {
  if (draftTimer === null) return;
  cancelDraft();
  const form = judgeForm();
  navigator.sendBeacon(form.dataset.draft, new URLSearchParams(new FormData(form)));
}

addEventListener("pagehide", sendDraftNow);
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "hidden") sendDraftNow();
});
// a page from the browser's own memory may hold an item that was judged since
addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});
