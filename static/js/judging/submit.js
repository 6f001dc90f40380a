// Submitting. The next item is shown at once if it is held, and the server's response holds the one after it. If the server
// refuses or cannot be reached, the item that was submitted comes back as it was, with the reason; the key in its form makes
// sure that it never counts twice.
import { appendToast, showToast } from "../toasts.js";
import { dropDraft, dropSubmit, keepSubmit, unsentSubmits } from "./device.js";
import { announce, goTo, judgeForm, work } from "./dom.js";
import { cancelDraft, draftsSent, saveDraftNow } from "./drafts.js";
import { fetchNextItem, holdNextItem, takeNextItem } from "./next-item.js";
import { post } from "./request.js";
import { currentScreen, startScreen } from "./screen.js";
import { areOff, keyOf } from "./shortcuts.js";

let pending = null; // the submit that the server has not answered yet
let failed = null; // the submission that did not arrive
let retryTimer = null;
let retryDelay = 0;
const lastSubmitted = new WeakMap(); // by form: the data of its last submit

export const isSubmitting = () => pending !== null;

function show(page) {
  work().replaceWith(page);
  document.title = page.dataset.title;
  htmx.process(page);
  startScreen();
  scrollTo(0, 0);
  (page.querySelector("#confirm") ?? page.querySelector("h1")).focus({ preventScroll: true });
}

function showNext(page, form) {
  show(page);
  const title = page.querySelector("h1").textContent;
  announce(`${form.matches("[data-skip-form]") ? "Skipped" : "Submitted"}. ${page.dataset.item ? "Next item: " : ""}${title}.`);
}

// --- sending ------------------------------------------------------------------------------------------------

function formData(form, submitter) {
  const data = new FormData(form, submitter);
  // a skip carries what was entered so far: a reviewer sees it
  if (form.matches("[data-skip-form]")) for (const [name, value] of new FormData(judgeForm())) if (!data.has(name)) data.append(name, value);
  return new URLSearchParams(data);
}

// The same data sent again carries the same key, and is saved once. After a failure other data is another submit: should the
// first one have arrived after all, the server says that it stands.
function renewKeyIfChanged(form, body) {
  const data = new URLSearchParams(body);
  data.delete("key");
  data.delete("csrfmiddlewaretoken");
  if (lastSubmitted.has(form) && lastSubmitted.get(form) !== String(data)) {
    form.elements.key.value = newKey();
    body.set("key", form.elements.key.value);
  }
  lastSubmitted.set(form, String(data));
}

function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function submitForm(form, submitter) {
  const page = work();
  if (page.ariaBusy === "true") return;
  const url = submitter?.getAttribute("formaction") ?? form.getAttribute("action");
  const body = formData(form, submitter);
  if (form === judgeForm()) renewKeyIfChanged(form, body);
  stopRetrying();
  cancelDraft();
  document.getElementById("skip").close();
  document.getElementById("not-saved").hidden = true;
  submitter?.classList.add("is-pressed");
  if (pending) {
    page.ariaBusy = "true";
    await pending;
    page.ariaBusy = null;
    if (work() !== page) { // the one before it came back
      submitter?.classList.remove("is-pressed");
      return;
    }
  }
  const next = takeNextItem();
  if (next) {
    body.set("showing", next.querySelector("[name=ticket]").value);
    if (form.matches("[data-skip-form]")) next.querySelector("[data-today]").textContent = page.querySelector("[data-today]").textContent;
    showNext(next, form);
  } else {
    page.ariaBusy = "true";
  }
  const submission = { form, submitter, page, next, url, body };
  pending = draftsSent().then(() => post(url, body)).then(
    (response) => handleResponse(response, submission),
    () => handleFailure(submission, "Offline. This is kept on this device, and sent as soon as the server can be reached.", { retry: true }),
  ).finally(() => {
    page.ariaBusy = null;
    submitter?.classList.remove("is-pressed");
    pending = null;
  });
  await pending;
  if (!next) fetchNextItem(isSubmitting);
}

// --- the response -------------------------------------------------------------------------------------------

function handleResponse(response, submission) {
  response.toasts.forEach(appendToast);
  if (response.isSaved || response.isRefused) {
    dropSubmit(submission.page.dataset.item);
    retryDelay = 0;
  }
  if (response.isSaved) {
    dropDraft(submission.page.dataset.item);
    offerRevision(submission);
  }
  if (response.isSaved && submission.next) holdNextItem(response.page);
  else if (response.isSaved) showNext(response.page, submission.form);
  else if (response.isRefused) handleRefusal(response.page, submission);
  else if (response.isSignedOut) handleFailure(submission, "You are signed out, and this is not saved yet. Sign in in another tab, then try again here.", { isSignedOut: true });
  else if (response.isRemoved) handleFailure(submission, "You are no longer a member of this project, or it is closed, so this is not saved. It is kept on this device: if a lead adds you back, try again.");
  else handleFailure(submission, `The server could not save this (error ${response.status}). It is kept on this device, and sent again by itself.`, { retry: true });
}

// --- second thoughts ------------------------------------------------------------------------------------------

const REVISION_MS = 10_000;
let savedAt = -Infinity;
let backUrl = "";

// Of a comparison, where one key is the whole judgment, a toast says what was saved.
function offerRevision({ form, page, submitter }) {
  if (form.id !== "judge" || submitter?.name === "reason") return; // a skip
  savedAt = performance.now();
  backUrl = page.querySelector("[data-back]").href;
  if (!submitter?.matches(".degree")) return;
  document.querySelector("#toasts [data-revision]")?.remove();
  showToast(`Saved: ${submitter.title}.${areOff ? "" : ` ${keyOf("undo")} changes it.`}`);
  document.querySelector("#toasts").lastElementChild.dataset.revision = "";
}

// To the judgment that was just saved. False if that is some time ago.
export function reviseLast() {
  if (!pending && performance.now() - savedAt > REVISION_MS) return false;
  const leave = () => {
    if (performance.now() - savedAt < REVISION_MS) location.assign(backUrl);
  };
  if (pending) pending.then(leave);
  else leave();
  return true;
}

// To the judgment before this item, which may be the one that is being saved. Not where that one fails and comes back.
export async function goBack() {
  const isSaving = pending !== null;
  await pending;
  if (!isSaving || failed?.page !== work()) work().querySelector("[data-back]")?.click();
}

// Back to the item that was submitted, as it was; the next one is held again, with what was entered on it.
function bringBack({ page, next }) {
  if (next && work() === next) {
    next.ariaBusy = null;
    saveDraftNow();
    holdNextItem(next);
    show(page);
  }
}

function handleRefusal(refused, submission) {
  const { page } = submission;
  if (refused.dataset.item !== page.dataset.item) return show(refused); // the page was no good: another item instead
  bringBack(submission);
  page.querySelector("#errors").replaceWith(refused.querySelector("#errors"));
  page.querySelector("#errors").scrollIntoView({ block: "nearest" });
}

function handleFailure(submission, text, { isSignedOut = false, retry = false } = {}) {
  failed = submission;
  keepSubmit(submission.page.dataset.item, submission.url, submission.body);
  bringBack(submission);
  const bar = document.getElementById("not-saved");
  document.getElementById("skip").close();
  bar.querySelector("span").textContent = text;
  bar.querySelector("a").hidden = !isSignedOut;
  bar.hidden = false;
  bar.scrollIntoView({ block: "nearest" }); // at 200% zoom it is below the screen
  if (retry) retryLater();
}

// --- sending again by itself ----------------------------------------------------------------------------------

const FIRST_DELAY_MS = 2_000;
const MAX_DELAY_MS = 60_000;

function retryLater() {
  retryDelay = Math.min(MAX_DELAY_MS, 2 * retryDelay || FIRST_DELAY_MS);
  retryTimer = setTimeout(tryAgain, retryDelay);
}

function stopRetrying() {
  clearTimeout(retryTimer);
  retryTimer = null;
}

function tryAgain() {
  if (failed && failed.page === work()) submitForm(failed.form, failed.submitter);
}

// whoever changes something submits again when it is ready
document.addEventListener("entered", () => {
  if (!failed || failed.page !== work()) return;
  stopRetrying();
  dropSubmit(failed.page.dataset.item);
});

addEventListener("online", () => {
  if (retryTimer !== null) tryAgain();
});

// What an earlier visit could not send. The server knows each by its key, and saves it once.
export async function sendUnsent() {
  for (const { item, url, body } of unsentSubmits()) {
    try {
      const data = new URLSearchParams(body);
      data.delete("showing"); // that page is gone
      const response = await post(url, data);
      if (!response.isSaved && !response.isRefused) return;
      dropSubmit(item);
      if (response.isSaved) dropDraft(item);
      const why = response.page?.querySelector("#errors")?.textContent.trim();
      if (response.isSaved) showToast("A judgment that was kept on this device is saved now.", "ok");
      else showToast(`A judgment that was kept on this device could not be saved: ${why}`, "danger");
      if (work().dataset.item === item && response.page) show(response.page);
    } catch {
      return;
    }
  }
}

// --- events -------------------------------------------------------------------------------------------------

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!work().contains(form)) return;
  const isJudgment = form === judgeForm() && event.submitter?.name !== "reason";
  const problem = isJudgment ? currentScreen().findProblem(event.submitter) : null;
  if (problem && !problem.isForServer) {
    event.preventDefault();
    showProblem(problem);
  } else if (form.dataset.nextUrl || form.matches("[data-skip-form]")) {
    event.preventDefault();
    if (problem) takeNextItem(); // the server will refuse it: do not show another item meanwhile
    submitForm(form, event.submitter);
  }
});

function showProblem({ text, element }) {
  if (!text) return;
  announce(text);
  showToast(text, "warn");
  if (element?.matches(".answer")) goTo(element);
  else element?.focus();
}

document.addEventListener("click", (event) => {
  if (event.target.closest("#not-saved button")) tryAgain();
});
