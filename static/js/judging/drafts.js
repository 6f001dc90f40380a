// What is entered is saved as a draft while it is entered: on this device at once, and on the server, which then has it.
import { csrfToken } from "../csrf.js";
import { dropDraft, keepDraft } from "./device.js";
import { judgeForm, work } from "./dom.js";

const DELAY_MS = 500;
const TIMEOUT_MS = 20_000;
let timer = null;
let lastRequest = Promise.resolve();

const draftUrl = () => judgeForm()?.dataset.draftUrl; // there is none where a judgment is edited

function formData() {
  const data = new URLSearchParams(new FormData(judgeForm()));
  data.set("csrfmiddlewaretoken", csrfToken());
  return data;
}

export function saveDraftSoon() {
  clearTimeout(timer);
  document.dispatchEvent(new Event("entered"));
  if (draftUrl()) keepDraft();
  if (draftUrl()) timer = setTimeout(saveDraft, DELAY_MS);
}

export function cancelDraft() {
  clearTimeout(timer);
  timer = null;
}

// One after the other, so that an older draft never replaces a newer one; a draft that fails is followed by the next.
function saveDraft() {
  cancelDraft();
  if (!draftUrl()) return; // the last item was submitted meanwhile
  const [url, body, item] = [draftUrl(), formData(), work().dataset.item];
  const send = async () => {
    const response = await fetch(url, { method: "POST", body, keepalive: String(body).length < 60_000, signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (response.status === 204 && timer === null) dropDraft(item);
  };
  lastRequest = lastRequest.then(send).catch(() => {});
}

export const draftsSent = () => lastRequest;

export function saveDraftNow() {
  if (timer === null || !draftUrl()) return;
  cancelDraft();
  navigator.sendBeacon(draftUrl(), formData());
}

document.addEventListener("input", (event) => {
  if (event.target.closest("#judge")) saveDraftSoon();
});
document.addEventListener("change", (event) => {
  if (event.target.closest("#judge")) saveDraftSoon();
});
addEventListener("pagehide", saveDraftNow);
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "hidden") saveDraftNow();
});
// a page from the browser's back-forward cache may show an item that was judged since
addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});
