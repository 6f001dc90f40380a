// Submitting. The next item is shown at once if one is held, and the server's response holds one more. What cannot be sent stays
// in the outbox, and the work goes on with what is held; it is sent again by itself. What the server refuses comes back as it was,
// with the reason. The key in each form makes sure that it never counts twice.
import { gettext } from "../gettext.js";
import { appendToast, showToast } from "../toasts.js";
import { dropDraft, dropSubmit } from "./device.js";
import { announce, goTo, judgeForm, work } from "./dom.js";
import { cancelDraft, draftsSent, saveDraftNow } from "./drafts.js";
import { reasonOf, showFailure } from "./failure.js";
import { fetchNextItems, heldTickets, holdItem, takeNextItem, ticketOfPage } from "./next-item.js";
import { addUnsent, bodyOf, isOnlyHere, isUnsent, loadUnsent, markFailed, removeUnsent, ticketOf, unsent } from "./outbox.js";
import { post } from "./request.js";
import { currentScreen, secondsShown, startScreen } from "./screen.js";
import { areOff, keyOf } from "./shortcuts.js";

let sending = null; // until everything in the outbox was sent once
let isReplacing = false; // a field in focus that is removed counts as changed
let inFlight = null; // the entry that is being sent
let failure = null; // why the last round of sending failed
const lastSubmitted = new WeakMap(); // by form: the data of its last submit

export const isSubmitting = () => sending !== null;

const isSkip = ({ form, submitter }) => Boolean(form?.matches("[data-skip-form]")) || submitter?.name === "reason";
const isHere = (entry) => new URL(entry.url, location).pathname.startsWith(location.pathname); // in this project
const isOnScreen = (entry) => entry.item === work().dataset.item;

function show(page) {
  isReplacing = true;
  work().replaceWith(page);
  isReplacing = false;
  document.title = page.dataset.title;
  htmx.process(page);
  startScreen();
  showFailure(failure, unsent().length, isOnlyHere());
  scrollTo(0, 0);
  (page.querySelector("#confirm") ?? page.querySelector("h1")).focus({ preventScroll: true });
}

function showNext(page, entry) {
  const [before, today] = [work().querySelector("[data-today]"), page.querySelector("[data-today]")];
  // of a held item, the server counted all before it as judged
  if (before && today) today.textContent = Math.min(Number(today.textContent), Number(before.textContent) + (isSkip(entry) ? 0 : 1));
  show(page);
  const title = page.querySelector("h1").textContent;
  const values = { title };
  if (isSkip(entry)) announce(page.dataset.item ? gettext("Skipped. Next item: %(title)s.", values) : gettext("Skipped. %(title)s.", values));
  else announce(page.dataset.item ? gettext("Submitted. Next item: %(title)s.", values) : gettext("Submitted. %(title)s.", values));
}

// --- submitting ---------------------------------------------------------------------------------------------

function formData(form, submitter) {
  const data = new FormData(form, submitter);
  // a skip carries what was entered so far: a reviewer sees it
  const own = new Set(data.keys());
  if (isSkip({ form })) for (const [name, value] of new FormData(judgeForm())) if (!own.has(name)) data.append(name, value);
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

// `stays`: the server is going to refuse it, so no other item is shown meanwhile.
function submitForm(form, submitter, stays) {
  const page = work();
  if (page.ariaBusy === "true") return;
  const url = submitter?.getAttribute("formaction") ?? form.getAttribute("action");
  const body = formData(form, submitter);
  if (form === judgeForm()) renewKeyIfChanged(form, body);
  cancelDraft();
  document.getElementById("skip").close();
  submitter?.classList.add("is-pressed");
  const choice = currentScreen()?.choice?.(submitter) ?? "";
  const entry = { item: page.dataset.item, url, body: String(body), seconds: secondsShown(page), page, form, submitter, choice };
  addUnsent(entry);
  const next = stays ? null : takeNextItem();
  if (next) showNext(next, entry);
  else page.ariaBusy = "true";
  sendAll();
}

// --- sending ------------------------------------------------------------------------------------------------

const FIRST_DELAY_MS = 2_000;
const MAX_DELAY_MS = 60_000;
let retryTimer = null;
let retryDelay = 0;

// Each entry of the outbox once, the oldest first, and what is added meanwhile.
function sendAll() {
  clearTimeout(retryTimer);
  retryTimer = null;
  sending ??= sendEach().then((reason) => {
    sending = null;
    failure = unsent().length > 0 ? reason : null;
    if (failure?.retries) retryLater();
    else retryDelay = 0;
    showFailure(failure, unsent().length, isOnlyHere());
    if (!failure) fetchMore();
  });
  return sending;
}

async function sendEach() {
  const sent = new Set();
  let reason = null;
  let areKeptSaved = false;
  for (let entry; (entry = unsent().find((other) => !sent.has(other))); sent.add(entry)) {
    if (isOnScreen(entry)) work().ariaBusy = "true";
    inFlight = entry;
    const response = await send(entry);
    inFlight = null;
    entry.submitter?.classList.remove("is-pressed");
    if (entry.page) entry.page.ariaBusy = null;
    if (response?.isSaved || response?.isRefused) {
      removeUnsent(entry);
      areKeptSaved ||= entry.hasFailed && response.isSaved;
      handleResponse(response, entry);
    } else {
      reason = reasonOf(response);
      if (entry.isChanged) removeUnsent(entry);
      else markFailed(entry);
    }
    if (response) continue;
    unsent().forEach(markFailed); // the others would fail alike
    break;
  }
  if (areKeptSaved) showToast(gettext("What was kept on this device is saved now."), "ok");
  work().ariaBusy = null; // what is not saved stays, and can be changed
  return reason;
}

// The response, or null if the server cannot be reached.
async function send(entry) {
  try {
    await draftsSent();
    const showing = isUnsent(work().dataset.item) ? null : ticketOfPage(work());
    return await post(entry.url, bodyOf(entry, { showing, shown: showing && secondsShown(work()), held: heldTickets() }));
  } catch {
    return null;
  }
}

const fetchMore = () => fetchNextItems(isSubmitting, () => unsent().map(ticketOf));

// What an earlier visit could not send comes first.
export function start() {
  sendElsewhere(loadUnsent(isHere));
  if (failure) return undefined; // what was refused on this page already waits for a press, or its time
  return unsent().length > 0 ? sendAll() : fetchMore();
}

// Of other projects: what is refused, or cannot be sent, waits for a visit to its project.
async function sendElsewhere(entries) {
  for (const entry of entries) {
    const response = await post(entry.url, bodyOf(entry)).catch(() => null);
    if (!response?.isSaved) continue;
    dropSubmit(entry.item);
    showToast(gettext("What was kept on this device is saved now."), "ok");
  }
}

function retryLater() {
  retryDelay = Math.min(MAX_DELAY_MS, 2 * retryDelay || FIRST_DELAY_MS);
  retryTimer = setTimeout(sendAll, retryDelay);
}

addEventListener("online", () => {
  if (unsent().length > 0) sendAll();
});
addEventListener("beforeunload", (event) => {
  if (isOnlyHere()) event.preventDefault();
});

// whoever changes something submits again when it is ready
document.addEventListener("entered", () => {
  const entry = isReplacing ? null : unsent().find(isOnScreen);
  if (!entry) return;
  if (entry === inFlight) return void (entry.isChanged = true);
  removeUnsent(entry);
  if (unsent().length === 0) failure = null;
  showFailure(failure, unsent().length, isOnlyHere());
});

// --- the response -------------------------------------------------------------------------------------------

// A fault in showing one response must not keep the others from being sent.
function handleResponse(response, entry) {
  try {
    response.toasts.forEach(appendToast);
    if (response.isRefused) handleRefusal(response.page, entry);
    else handleSaved(response, entry);
  } catch (error) {
    reportError(error);
  }
}

function handleSaved({ page, toasts }, entry) {
  dropDraft(entry.item);
  offerRevision(entry, toasts.length > 0);
  holdItem(page);
  const current = work().dataset.item;
  if (current && !isOnScreen(entry) && !isUnsent(current)) return; // somebody works on it
  const next = takeNextItem();
  if (next) showNext(next, entry);
  else if (page && (isOnScreen(entry) || unsent().length === 0)) showNext(page, entry);
}

// Back to the item that was submitted, as it was; the one on the screen is held again, with what was entered on it.
function handleRefusal(refused, entry) {
  const errors = refused?.querySelector("#errors");
  const comesBack = entry.page && refused?.dataset.item === entry.item;
  if (!comesBack && !(entry.page && isOnScreen(entry))) {
    showToast(gettext("A judgment that was kept on this device could not be saved: %(reason)s", { reason: errors?.textContent.trim() ?? "" }), "danger");
  }
  if (comesBack) showRefused(entry, errors);
  else if (isOnScreen(entry) && refused) show(refused); // the page was no good: another item instead
  else holdItem(refused, { isFirst: true });
}

function showRefused(entry, errors) {
  const current = work();
  if (!isOnScreen(entry)) {
    saveDraftNow();
    show(entry.page);
    if (current.dataset.item && !isUnsent(current.dataset.item)) holdItem(current, { isFirst: true });
  }
  entry.page.querySelector("#errors").replaceWith(errors);
  errors.scrollIntoView({ block: "nearest" });
}

// --- second thoughts ------------------------------------------------------------------------------------------

const REVISION_MS = 10_000;
let savedAt = -Infinity;
let backUrl = "";

// A toast says what was saved, and leads back to it; not where the server says something else, such as that an earlier one stands.
function offerRevision({ form, page, submitter, choice }, isToldOtherwise) {
  if (form?.id !== "judge" || submitter?.name === "reason") return; // a skip
  savedAt = performance.now();
  backUrl = page.querySelector("[data-back]").href;
  document.querySelector("#toasts [data-revision]")?.remove();
  if (isToldOtherwise) return;
  const text = choice ? gettext("Saved: %(choice)s", { choice }) : gettext("Saved.");
  showToast(text, "ok", { text: gettext("Change"), href: backUrl, key: areOff ? "" : keyOf("undo") }).dataset.revision = "";
}

// To the judgment that was just saved. False if that is some time ago.
export function reviseLast() {
  if (!sending && performance.now() - savedAt > REVISION_MS) return false;
  const leave = () => {
    if (performance.now() - savedAt < REVISION_MS) location.assign(backUrl);
  };
  if (sending) sending.then(leave);
  else leave();
  return true;
}

// To the judgment before this item, which may be the one that is being saved. Not where that one fails or is refused.
export async function goBack() {
  const wasSending = isSubmitting();
  await sending;
  const stays = isUnsent(work().dataset.item) || work().querySelector("#errors [role=alert]");
  if (!wasSending || !stays) work().querySelector("[data-back]")?.click();
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
  } else if (form.dataset.nextUrl || isSkip({ form })) {
    event.preventDefault();
    submitForm(form, event.submitter, Boolean(problem));
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
  if (event.target.closest("#not-saved button")) sendAll();
});
