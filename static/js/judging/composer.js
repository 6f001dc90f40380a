// The field of a chat's message: Enter sends, Shift Enter begins a line. What was typed is kept on this device until it is sent.
import { storage } from "./device.js";

const keyOf = () => `chat:${location.pathname}`;

document.addEventListener("keydown", (event) => {
  const field = event.target;
  if (!field.matches?.("[data-composer]") || event.key !== "Enter" || event.isComposing) return;
  if (event.shiftKey || event.altKey) return;
  event.preventDefault();
  if (field.value.trim()) field.form.requestSubmit();
});

document.addEventListener("input", ({ target }) => {
  if (target.matches("[data-composer]")) keep(target.value);
});

document.addEventListener("submit", (event) => {
  const field = event.target.querySelector("[data-composer]");
  if (!field) return;
  if (event.target.ariaBusy === "true") event.preventDefault(); // a second Enter, before the page has changed
  event.target.ariaBusy = "true";
});

function keep(text) {
  try {
    if (text) storage?.setItem(keyOf(), text);
    else storage?.removeItem(keyOf());
  } catch {
    // full: the text is on the page alone
  }
}

export function restoreText() {
  const field = document.querySelector("[data-composer]");
  if (field && !field.value) field.value = storage?.getItem(keyOf()) ?? "";
}

export const forgetText = () => keep("");

addEventListener("pageshow", (event) => {
  for (const form of document.querySelectorAll("form.composer[aria-busy]")) form.ariaBusy = null;
  if (!event.persisted) restoreText();
});
