// The item after the current one: fetched while one reads, under a lease of its own, and held until a submit shows it.
import { judgeForm, work } from "./dom.js";
import { post } from "./request.js";

const EXPIRY_MARGIN_MS = 5_000;
let nextItem = null; // its #work, not yet on the page
let expiresAt = 0; // when its lease ends

export const hasNextItem = () => nextItem !== null;

export function holdNextItem(page) {
  nextItem = page?.dataset.item ? page : null;
  expiresAt = performance.now() + 60_000 * Number(page?.dataset.leaseMinutes ?? 0);
}

// The held item, or null where there is none or its lease may have ended.
export function takeNextItem() {
  const page = performance.now() < expiresAt - EXPIRY_MARGIN_MS ? nextItem : null;
  nextItem = null;
  return page;
}

// A submit that is pending brings the next item itself.
export async function fetchNextItem(isSubmitting) {
  const form = judgeForm();
  if (!form?.dataset.nextUrl || hasNextItem() || isSubmitting()) return;
  const current = work();
  try {
    const response = await post(form.dataset.nextUrl, new URLSearchParams({ ticket: form.elements.ticket.value }));
    if (response.isSaved && current === work() && !isSubmitting() && !hasNextItem()) holdNextItem(response.page);
  } catch {
    // then the next item comes with the response to the submit
  }
}
