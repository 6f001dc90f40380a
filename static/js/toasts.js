// Short messages in the corner of the page. Those that report a failure stay until they are dismissed, those with a button stay long.
import { gettext } from "./gettext.js";

const REMOVE_AFTER_MS = 6000;
const REMOVE_ACTS_AFTER_MS = 30_000;

export function showToast(text, level = "ok") {
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
  toast.append(message, close);
  appendToast(toast);
}

export function appendToast(toast) {
  document.getElementById("toasts").append(toast);
  removeLater(toast);
}

export function removeLater(toast) {
  if (toast.classList.contains("danger")) return;
  const remove = () => (toast.matches(":hover, :focus-within") ? wait() : toast.remove());
  const wait = () => setTimeout(remove, toast.querySelector("form") ? REMOVE_ACTS_AFTER_MS : REMOVE_AFTER_MS);
  wait();
}
