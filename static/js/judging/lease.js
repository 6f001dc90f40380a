// The item's lease is renewed while somebody reads, moves or types, without a request for every movement.
import { csrfToken } from "../csrf.js";
import { showToast } from "../toasts.js";
import { judgeForm, work } from "./dom.js";
import { renewHeld } from "./next-item.js";

const MAX_INTERVAL_MS = 60_000;
const TIMEOUT_MS = 20_000;
let renewedAt = performance.now();
let isRenewing = false;

async function renewIfDue() {
  const minutes = Number(work()?.dataset.leaseMinutes);
  const interval = Math.min(MAX_INTERVAL_MS, (minutes * 60_000) / 3);
  if (!minutes || !judgeForm() || isRenewing || performance.now() - renewedAt < interval) return;
  isRenewing = true;
  try {
    const [page, form] = [work(), judgeForm()];
    const response = await fetch(form.dataset.renewUrl, { method: "POST", body: new URLSearchParams({ ticket: form.elements.ticket.value }), headers: { "X-CSRFToken": csrfToken() }, signal: AbortSignal.timeout(TIMEOUT_MS) });
    renewedAt = performance.now();
    if (response.ok && !response.redirected) renewHeld();
    if (response.status === 200 && !response.redirected && page === work()) showToast(await response.text(), "warn");
  } catch {
    renewedAt = performance.now(); // the server is not there: try again after another interval
  } finally {
    isRenewing = false;
  }
}

for (const name of ["pointermove", "pointerdown", "keydown", "wheel", "scroll", "touchstart"]) {
  document.addEventListener(name, renewIfDue, { passive: true, capture: true });
}
