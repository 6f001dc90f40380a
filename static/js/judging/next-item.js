// The items after the current one: fetched while one reads, each under a lease of its own, and held until a submit shows them.
import { judgeForm, work } from "./dom.js";
import { isUnsent } from "./outbox.js";
import { post } from "./request.js";

const EXPIRY_MARGIN_MS = 5_000;
let held = []; // {page, expiresAt}: the #work of each, not yet on the page, and when its lease ends
let isMoreLikely = true; // until the server has none
let isFetching = false;

export const hasNextItem = () => held.length > 0;
export const ticketOfPage = (page) => page.querySelector("[name=ticket]")?.value;
export const heldTickets = () => held.map(({ page }) => ticketOfPage(page));

const expiry = (page) => performance.now() + 60_000 * Number(page.dataset.leaseMinutes);
const isKnown = (item) => item === work().dataset.item || isUnsent(item) || held.some(({ page }) => page.dataset.item === item);

// The response's item, or null where the server had none; `isFirst`: before all others.
export function holdItem(page, { isFirst = false } = {}) {
  isMoreLikely = Boolean(page?.dataset.item);
  if (!isMoreLikely || isKnown(page.dataset.item)) return;
  const entry = { page, expiresAt: expiry(page) };
  held = isFirst ? [entry, ...held] : [...held, entry];
}

// The first held item, or null where there is none or their leases may have ended.
export function takeNextItem() {
  dropExpired();
  return held.shift()?.page ?? null;
}

// The server has renewed all leases that had not ended.
export function renewHeld() {
  dropExpired();
  for (const entry of held) entry.expiresAt = expiry(entry.page);
}

function dropExpired() {
  held = held.filter(({ expiresAt }) => performance.now() < expiresAt - EXPIRY_MARGIN_MS);
}

// As many as the project allows. `unsentTickets()`: of items whose submit is still to come; a submit on its way brings the next
// item itself.
export async function fetchNextItems(isSubmitting, unsentTickets) {
  if (isFetching) return;
  isFetching = true;
  try {
    while (isMoreLikely && !isSubmitting()) {
      const form = judgeForm();
      const [current, tickets] = [work(), [...heldTickets(), ...unsentTickets()]];
      if (!form?.dataset.nextUrl || tickets.length >= Number(form.dataset.itemsAhead)) return;
      const body = new URLSearchParams({ ticket: ticketOfPage(current) });
      for (const ticket of tickets) body.append("held", ticket);
      const response = await post(form.dataset.nextUrl, body);
      if (!response.isSaved) return;
      holdItem(response.page);
    }
  } catch {
    // then the next item comes with the response to the submit
  } finally {
    isFetching = false;
  }
}
