// What every page has: the theme's switch, menus, dialogs and drawers, toasts.
"use strict";

const THEMES = { system: "System", light: "Light", dark: "Dark" };

function showTheme() {
  const theme = document.documentElement.dataset.theme || "system";
  for (const label of document.querySelectorAll("[data-theme-name]")) label.textContent = THEMES[theme];
}

function nextTheme() {
  const order = Object.keys(THEMES);
  const now = document.documentElement.dataset.theme || "system";
  const next = order[(order.indexOf(now) + 1) % order.length];
  if (next === "system") {
    delete document.documentElement.dataset.theme;
    localStorage.removeItem("theme");
  } else {
    document.documentElement.dataset.theme = next;
    localStorage.setItem("theme", next);
  }
  showTheme();
}

function toast(text, level = "ok") {
  const box = document.createElement("div");
  box.className = `toast ${level}`;
  const words = document.createElement("span");
  words.textContent = text;
  const close = document.createElement("button");
  close.className = "icon-button";
  close.type = "button";
  close.textContent = "×";
  close.setAttribute("aria-label", "Dismiss");
  close.dataset.dismisses = "";
  box.append(words, close);
  document.getElementById("toasts").append(box);
  fade(box);
}

function fade(box) {
  if (!box.classList.contains("danger")) setTimeout(() => box.remove(), 6000);
}

function csrfToken() {
  return document.cookie.match(/(?:^|; )csrftoken=([^;]+)/)?.[1] ?? "";
}

// someone may sign in again in another tab, which changes the token: the cookie has the newest one
document.addEventListener("htmx:configRequest", (event) => {
  const token = csrfToken();
  if (!token) return;
  event.detail.headers["X-CSRFToken"] = token;
  if (event.detail.formData.has("csrfmiddlewaretoken")) event.detail.formData.set("csrfmiddlewaretoken", token);
});

document.addEventListener("click", (event) => {
  const target = event.target;
  const opener = target.closest("[data-opens]");
  if (opener) document.querySelector(opener.dataset.opens)?.showModal();
  if (target.closest("[data-closes]")) target.closest("dialog")?.close();
  if (target.closest("[data-dismisses]")) target.closest(".toast")?.remove();
  if (target.closest("[data-next-theme]")) nextTheme();
  // a click on the backdrop is a click on the dialog itself
  if (target instanceof HTMLDialogElement && target.open) target.close();
  for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(target)) menu.open = false;
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});

// an answer may carry HX-Trigger: {"toast": {"text": …, "level": "ok|warn|danger"}}
document.addEventListener("toast", (event) => toast(event.detail.text, event.detail.level));
// a part of the page that takes care of its own failures says so with [data-own-errors]
document.addEventListener("htmx:sendError", (event) => {
  if (!event.target.closest("[data-own-errors]")) toast("The server cannot be reached. Nothing was saved.", "danger");
});
document.addEventListener("htmx:responseError", (event) => {
  if (!event.target.closest("[data-own-errors]")) toast(`That did not work (error ${event.detail.xhr.status}). Reload the page and try again.`, "danger");
});

// toasts that came with an answer
document.addEventListener("htmx:oobAfterSwap", (event) => {
  if (event.target.id === "toasts") event.target.querySelectorAll(".toast").forEach(fade);
});

showTheme();
document.querySelectorAll(".toast").forEach(fade);
