// The field of a chat's message: Enter sends, Shift Enter begins a line. What was typed is kept on this device until it is sent.
import { storage } from "./device.js";

const keyOf = (path) => ["chat", document.querySelector("[data-user]")?.dataset.user, path].join(":");
const isTouch = matchMedia("(pointer: coarse)"); // there Enter begins a line, and the button sends

document.addEventListener("keydown", (event) => {
  const field = event.target;
  if (!field.matches?.("[data-composer]") || event.key !== "Enter") return;
  if (event.isComposing || event.keyCode === 229) return; // it confirms what an input method offers
  if (event.shiftKey || event.altKey || isTouch.matches) return;
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

function keep(text, path = location.pathname) {
  try {
    if (text) storage?.setItem(keyOf(path), text);
    else storage?.removeItem(keyOf(path));
  } catch {
    // full: the text is on the page alone
  }
}

export function restoreText() {
  const field = document.querySelector("[data-composer]");
  if (field && !field.value) field.value = storage?.getItem(keyOf(location.pathname)) ?? "";
}

export const forgetText = (path) => keep("", path);

addEventListener("pageshow", (event) => {
  for (const form of document.querySelectorAll("form.composer[aria-busy]")) form.ariaBusy = null;
  if (!event.persisted) restoreText();
});
