// Submitting, and the item after this one. While one reads, the next item is fetched, under a lease of its own; a submit
// shows it at once, and what the server answers holds the one after it. If the server refuses or is not there, the item
// that was submitted comes back as it was, with the reason; the key in its form makes sure that it never counts twice.
"use strict";

const TIMEOUT_MS = 20_000;
let ahead = null; // the next item's #work, not yet on the page
let aheadUntil = 0; // when its lease has run out
let underWay = null; // the submit that the server has not answered yet
const lastSaid = new WeakMap(); // by form: what its last submit said

// --- showing ------------------------------------------------------------------------------------------------

function show(page, focus = true) {
  work().replaceWith(page);
  document.title = page.dataset.title;
  htmx.process(page);
  startScreen();
  scrollTo(0, 0);
  if (focus) page.querySelector("h1").focus({ preventScroll: true });
}

function hold(page) {
  ahead = page?.dataset.item ? page : null;
  aheadUntil = performance.now() + 60_000 * Number(page?.dataset.leaseMinutes ?? 0);
}

// The held item, where it is surely still ours.
function takeAhead() {
  const page = performance.now() < aheadUntil - 5_000 ? ahead : null;
  ahead = null;
  return page;
}

async function fetchAhead() {
  const form = judgeForm();
  if (!form?.dataset.ahead || ahead || underWay) return;
  const shown = work();
  try {
    const answer = await send(form.dataset.ahead, new URLSearchParams({ ticket: form.elements.ticket.value }));
    if (answer.ok && shown === work() && !underWay && !ahead) hold(answer.page);
  } catch {
    // then the next item comes with the answer to the submit
  }
}

// --- sending ------------------------------------------------------------------------------------------------

async function send(address, body) {
  body.delete("csrfmiddlewaretoken"); // someone may sign in again in another tab: the cookie has the newest one
  const response = await fetch(address, {
    method: "POST",
    body,
    headers: { "HX-Request": "true", "X-CSRFToken": csrfToken() },
    keepalive: String(body).length < 60_000, // it arrives even if the tab is closed at once
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  const isOurs = new URL(response.url).pathname === new URL(address, location).pathname; // else it leads to the sign-in page
  const parsed = new DOMParser().parseFromString(isOurs ? await response.text() : "", "text/html");
  const page = parsed.getElementById("work");
  return {
    ok: isOurs && response.ok,
    refused: isOurs && response.status === 422,
    status: response.status,
    signedOut: !isOurs || response.status === 403 || response.status === 404,
    page: page && document.adoptNode(page),
    toasts: [...parsed.querySelectorAll(".toast")],
  };
}

function enteredIn(form, submitter) {
  const data = new FormData(form, submitter);
  // who skips sends along what they had said: a reviewer gets it
  if (form.matches("[data-skips]")) for (const [name, value] of new FormData(judgeForm())) if (!data.has(name)) data.append(name, value);
  return new URLSearchParams(data);
}

// The same said again carries the same key, and is kept once. If it failed and something else is said now, that is
// another submit: should the first one have arrived after all, the server says that it stands.
function keepKeyHonest(form, body) {
  const said = new URLSearchParams(body);
  said.delete("key");
  said.delete("csrfmiddlewaretoken");
  if (lastSaid.has(form) && lastSaid.get(form) !== String(said)) {
    form.elements.key.value = newKey();
    body.set("key", form.elements.key.value);
  }
  lastSaid.set(form, String(said));
}

function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function submitForm(form, submitter) {
  const page = work();
  if (page.ariaBusy === "true") return;
  const address = submitter?.getAttribute("formaction") ?? form.getAttribute("action");
  const body = enteredIn(form, submitter);
  if (form === judgeForm()) keepKeyHonest(form, body);
  again = () => submitForm(form, submitter);
  cancelDraft();
  document.getElementById("skip").close();
  document.getElementById("not-saved").hidden = true;
  submitter?.classList.add("is-pressed");
  if (underWay) {
    page.ariaBusy = "true";
    await underWay;
    page.ariaBusy = null;
    if (work() !== page) return; // the one before it came back
  }
  const next = takeAhead();
  if (next) {
    body.set("showing", next.querySelector("[name=ticket]").value);
    if (form.matches("[data-skips]")) next.querySelector("[data-today]").textContent = page.querySelector("[data-today]").textContent;
    show(next);
  } else {
    page.ariaBusy = "true";
  }
  underWay = drafting.then(() => send(address, body)).then(
    (answer) => arrived(answer, page, next),
    () => failed(page, next, "The server cannot be reached. This is not saved yet; nothing is lost."),
  ).finally(() => {
    page.ariaBusy = null;
    submitter?.classList.remove("is-pressed");
    underWay = null;
  });
  await underWay;
  if (!ahead && !next) fetchAhead();
}

// --- what came of it ----------------------------------------------------------------------------------------

function arrived(answer, page, next) {
  for (const box of answer.toasts) {
    document.getElementById("toasts").append(box);
    fade(box);
  }
  if (answer.ok && next) hold(answer.page);
  else if (answer.ok) show(answer.page);
  else if (answer.refused) refused(answer.page, page, next);
  else if (answer.signedOut) failed(page, next, "You are signed out, and this is not saved yet. Sign in in another tab, then try again here.", true);
  else failed(page, next, `The server could not save this (error ${answer.status}). Nothing is lost.`);
}

// Back to the item that was submitted, as it was; what was begun on the next one waits with it.
function bringBack(page, next) {
  if (next && work() === next) {
    next.ariaBusy = null;
    sendDraftNow();
    hold(next);
    show(page);
  }
}

function refused(answer, page, next) {
  if (answer.dataset.item !== page.dataset.item) return show(answer); // the page was no good: another item instead
  bringBack(page, next);
  page.querySelector("#errors").replaceWith(answer.querySelector("#errors"));
  page.querySelector("#errors").scrollIntoView({ block: "nearest" });
}

let again = null; // sends once more what failed

function failed(page, next, text, signedOut = false) {
  const retry = again;
  bringBack(page, next);
  again = retry;
  const bar = document.getElementById("not-saved");
  document.getElementById("skip").close();
  bar.querySelector("span").textContent = text;
  bar.querySelector("a").hidden = !signedOut;
  bar.hidden = false;
}

// --- events -------------------------------------------------------------------------------------------------

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!work().contains(form)) return;
  const reason = form === judgeForm() && event.submitter?.name !== "reason" ? screen.refuses(event.submitter) : null;
  if (reason && !reason.ask) {
    event.preventDefault();
    refuse(reason);
  } else if (form.dataset.ahead || form.matches("[data-skips]")) {
    event.preventDefault();
    if (reason?.ask) takeAhead(); // it is certain to be refused
    submitForm(form, event.submitter);
  }
});

function refuse({ text, at }) {
  if (!text) return;
  say(text);
  toast(text, "warn");
  if (at?.matches(".answer")) goTo(at);
  else at?.focus();
}

document.addEventListener("click", (event) => {
  if (event.target.closest("#not-saved button")) again?.();
});

document.addEventListener("DOMContentLoaded", () => setTimeout(fetchAhead, 200));
