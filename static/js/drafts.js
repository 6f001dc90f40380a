// What is on the screen is kept as it is entered, and the item in hand as long as somebody is at it.
"use strict";

const DRAFT_DELAY_MS = 500;
const MOST_BETWEEN_RENEWALS_MS = 60_000;
let draftTimer = null;
let drafting = Promise.resolve();

const draftAddress = () => judgeForm()?.dataset.draft; // a judgment that is looked at again has none

function entered() {
  const said = new URLSearchParams(new FormData(judgeForm()));
  said.set("csrfmiddlewaretoken", csrfToken());
  return said;
}

function draftSoon() {
  clearTimeout(draftTimer);
  if (draftAddress()) draftTimer = setTimeout(sendDraft, DRAFT_DELAY_MS);
}

function cancelDraft() {
  clearTimeout(draftTimer);
  draftTimer = null;
}

// One after the other, so that an older draft never replaces a newer one; a draft that fails is followed by the next.
function sendDraft() {
  cancelDraft();
  const [address, body] = [draftAddress(), entered()];
  const send = () => fetch(address, { method: "POST", body, keepalive: String(body).length < 60_000 });
  drafting = drafting.then(send).catch(() => {});
}

function sendDraftNow() {
  if (draftTimer === null) return;
  cancelDraft();
  navigator.sendBeacon(draftAddress(), entered());
}

document.addEventListener("input", (event) => {
  if (event.target.closest("#judge")) draftSoon();
});
document.addEventListener("change", (event) => {
  if (event.target.closest("#judge")) draftSoon();
});
addEventListener("pagehide", sendDraftNow);
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "hidden") sendDraftNow();
});
// a page from the browser's own memory may hold an item that was judged since
addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});

// --- the lease ----------------------------------------------------------------------------------------------

let renewedAt = performance.now();
let renewing = false;

// Whoever reads, moves or types is at work: the item stays theirs, without a request for every movement.
async function renewIfDue() {
  const minutes = Number(work()?.dataset.leaseMinutes);
  const every = Math.min(MOST_BETWEEN_RENEWALS_MS, (minutes * 60_000) / 3);
  if (!minutes || !judgeForm() || renewing || performance.now() - renewedAt < every) return;
  renewing = true;
  try {
    const [shown, form] = [work(), judgeForm()];
    const response = await fetch(form.dataset.renew, { method: "POST", body: new URLSearchParams({ ticket: form.elements.ticket.value }), headers: { "X-CSRFToken": csrfToken() } });
    renewedAt = performance.now();
    if (response.status === 200 && !response.redirected && shown === work()) toast(await response.text(), "warn");
  } catch {
    renewedAt = performance.now(); // the server is not there: the next movement after a while tries again
  } finally {
    renewing = false;
  }
}

for (const name of ["pointermove", "pointerdown", "keydown", "wheel", "scroll", "touchstart"]) {
  document.addEventListener(name, renewIfDue, { passive: true, capture: true });
}
