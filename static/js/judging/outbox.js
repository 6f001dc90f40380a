// What was submitted and is not saved yet, the oldest first. What could not be sent is on the device as well, so that a later
// visit sends it.
import { dropSubmit, keepSubmit, unsentSubmits } from "./device.js";

// {item, url, body, at, seconds}; what is on this page of it: {page, form, submitter}; and {isStored, hasFailed}
let entries = [];

export const unsent = () => entries;
export const isUnsent = (item) => entries.some((entry) => entry.item === item);

// Takes the place of an earlier submit of the same item.
export function addUnsent(entry) {
  const timed = { at: Date.now(), ...entry };
  timed.isStored = keepSubmit(timed);
  entries = [...entries.filter(({ item }) => item !== entry.item), timed];
}

export function removeUnsent(entry) {
  entries = entries.filter((other) => other !== entry);
  dropSubmit(entry.item);
}

// It is sent again, by a later visit as well.
export function markFailed(entry) {
  entry.hasFailed = true;
  entry.isStored = keepSubmit(entry);
}

// Whether closing the page would lose something: where the device stores nothing.
export const isOnlyHere = () => entries.some(({ isStored }) => !isStored);

// What earlier visits, or other tabs, could not send: of this page's project into the outbox. Returns those of others.
export function loadUnsent(isHere) {
  const found = unsentSubmits();
  for (const entry of found) if (isHere(entry) && !isUnsent(entry.item)) entries.push({ ...entry, isStored: true, hasFailed: true });
  return found.filter((entry) => !isHere(entry));
}

export const ticketOf = (entry) => new URLSearchParams(entry.body).get("ticket");

// The form's data as it is sent now: with how long ago it was submitted, and which items this page has besides. The server knows
// each submit by its key, and saves it once.
export function bodyOf(entry, { showing = null, shown = 0, held = [] } = {}) {
  const body = new URLSearchParams(entry.body);
  body.set("seconds", entry.seconds);
  body.set("late", Math.max(0, Date.now() - entry.at) / 1000);
  if (showing) body.set("showing", showing);
  if (showing) body.set("shown", shown);
  for (const ticket of [...held, ...entries.filter((other) => other !== entry).map(ticketOf)]) body.append("held", ticket);
  return body;
}
