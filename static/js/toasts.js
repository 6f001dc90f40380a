// Short messages in the corner of the page. Those that report a failure stay until they are dismissed, those with a button stay long.
import { gettext } from "./gettext.js";

const REMOVE_AFTER_MS = 6000;
const REMOVE_ACTS_AFTER_MS = 30_000;

// `link`: {text, href, key} of what can be done about it; `key`: the key that does it too, or none.
export function showToast(text, level = "ok", link = null) {
  const toast = document.createElement("div");
  toast.className = `toast ${level}`;
  const message = document.createElement("span");
  message.textContent = text;
  const close = document.createElement("button");
  close.className = "icon-button";
  close.type = "button";
  close.textContent = "×";
  close.setAttribute("aria-label", gettext("Dismiss"));
  close.dataset.dismiss = "";
  toast.append(message, ...(link ? [linkTo(link)] : []), close);
  appendToast(toast);
  return toast;
}

const textOf = (toast) => toast.querySelector("span").textContent;

function linkTo({ text, href, key }) {
  const link = Object.assign(document.createElement("a"), { href, textContent: text });
  link.className = "button small";
  if (key) link.append(" ", Object.assign(document.createElement("kbd"), { textContent: key }));
  return link;
}

export function appendToast(toast) {
  const toasts = document.getElementById("toasts");
  const same = [...toasts.children].find((other) => textOf(other) === textOf(toast));
  if (same && !same.querySelector("form")) same.remove(); // said again, it is not said twice
  toasts.append(toast);
  removeLater(toast);
}

export function removeLater(toast) {
  if (toast.classList.contains("danger")) return;
  const remove = () => (toast.matches(":hover, :focus-within") ? wait() : toast.remove());
  const wait = () => setTimeout(remove, toast.querySelector("form") ? REMOVE_ACTS_AFTER_MS : REMOVE_AFTER_MS);
  wait();
}
