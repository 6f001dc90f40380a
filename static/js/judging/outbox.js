// What was submitted and is not saved yet, the oldest first. What could not be sent is on the device as well, so that a later
// visit sends it.
import { dropSubmit, keepSubmit, unsentSubmits } from "./device.js";

let entries = []; // {item, url, body, at, seconds}, and what is on this page of it: {page, form, submitter}

export const unsent = () => entries;
export const isUnsent = (item) => entries.some((entry) => entry.item === item);

// Takes the place of an earlier submit of the same item.
export function addUnsent(entry) {
  entries = [...entries.filter(({ item }) => item !== entry.item), { at: Date.now(), ...entry }];
}

export function removeUnsent(entry) {
  entries = entries.filter((other) => other !== entry);
  dropSubmit(entry.item);
}

export function keepUnsent(entry) {
  entry.isKept = true;
  keepSubmit(entry);
}

// What earlier visits, or other tabs, could not send.
export function loadUnsent() {
  for (const entry of unsentSubmits()) if (!isUnsent(entry.item)) entries.push({ ...entry, isKept: true });
}

export const ticketOf = (entry) => new URLSearchParams(entry.body).get("ticket");

// The form's data as it is sent now: with how long ago it was submitted, and which items this page has besides. The server knows
// each submit by its key, and saves it once.
export function bodyOf(entry, { showing = null, held = [] }) {
  const body = new URLSearchParams(entry.body);
  body.set("seconds", entry.seconds);
  body.set("late", Math.max(0, Date.now() - entry.at) / 1000);
  if (showing) body.set("showing", showing);
  for (const ticket of [...held, ...entries.filter((other) => other !== entry).map(ticketOf)]) body.append("held", ticket);
  return body;
}
