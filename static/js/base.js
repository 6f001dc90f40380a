// Every page: the theme switch, menus, dialogs and drawers, questions, toasts, and what htmx reports.
import { csrfToken } from "./csrf.js";
import { gettext } from "./gettext.js";
import { removeLater, showToast } from "./toasts.js";

const THEMES = { system: gettext("System"), light: gettext("Light"), dark: gettext("Dark") };

const currentTheme = () => document.documentElement.dataset.theme || "system";

function showTheme() {
  for (const label of document.querySelectorAll("[data-theme-name]")) label.textContent = THEMES[currentTheme()];
}

function switchTheme() {
  const order = Object.keys(THEMES);
  const next = order[(order.indexOf(currentTheme()) + 1) % order.length];
  if (next === "system") {
    delete document.documentElement.dataset.theme;
    localStorage.removeItem("theme");
  } else {
    document.documentElement.dataset.theme = next;
    localStorage.setItem("theme", next);
  }
  showTheme();
}

document.addEventListener("click", (event) => {
  const target = event.target;
  const opener = target.closest("[data-open-dialog]");
  if (opener) document.querySelector(opener.dataset.openDialog)?.showModal();
  if (target.closest("[data-close-dialog]")) target.closest("dialog")?.close();
  if (target.closest("[data-dismiss]")) target.closest(".toast")?.remove();
  if (target.closest("[data-switch-theme]")) switchTheme();
  // a click on the backdrop is a click on the dialog itself
  if (target instanceof HTMLDialogElement && target.open) target.close();
  if (target.closest("dialog")) return; // a question about what is in the menu leaves it open
  for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(target)) menu.open = false;
});

// A form that loses work asks first: before htmx and other listeners, which see the submit only once it is confirmed.
document.addEventListener("submit", confirmFirst, true);

function confirmFirst(event) {
  const { target: form, submitter } = event;
  const question = submitter?.dataset.confirm ?? form.dataset.confirm;
  const isConfirmed = "confirmed" in form.dataset;
  delete form.dataset.confirmed;
  if (!question || isConfirmed) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  import("./confirm.js").then(({ confirmSubmit }) => confirmSubmit(form, submitter, question), showUnreachable);
}

// A second press while the first is on its way would do everything twice. What stays on the page lets go after a while: somebody
// stopped it.
const SENT_MS = 15_000;
const sent = new Map();

function letGo(form) {
  clearTimeout(sent.get(form));
  sent.delete(form);
  for (const button of form.querySelectorAll("button[aria-busy]")) button.ariaBusy = null;
}

// on the window: every script of the page has had its say on the form
window.addEventListener("submit", (event) => {
  const { target: form, submitter } = event;
  const goesElsewhere = submitter?.formTarget === "_blank" || form.matches("[data-submit-on-change]");
  if (event.defaultPrevented || !form.matches("[method=post]") || goesElsewhere) return;
  if (sent.has(form)) return event.preventDefault();
  sent.set(form, setTimeout(letGo, SENT_MS, form));
  if (submitter) submitter.ariaBusy = "true";
});
window.addEventListener("pageshow", () => [...sent.keys()].forEach(letGo)); // one comes back to it

// Forms that act on a choice as it is made; their addresses have no empty filters.
document.addEventListener("change", (event) => event.target.closest("form[data-submit-on-change]")?.requestSubmit());
document.addEventListener("formdata", (event) => {
  if (!event.target.matches("form[data-submit-on-change][method=get]")) return;
  const empty = Array.from(event.formData).filter((entry) => entry[1] === "");
  for (const [field] of empty) event.formData.delete(field);
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});

// The command palette is loaded when it is first asked for; what is typed meanwhile goes into its field, and Escape gives up.
const paletteLink = document.querySelector("[data-palette]");
const isMac = /Mac|iP/.test(navigator.platform);
let typedEarly = null;

async function openPalette() {
  typedEarly = "";
  try {
    const { open } = await import("./palette.js");
    await open(paletteLink, () => typedEarly);
  } catch {
    if (typedEarly !== null) location.assign(paletteLink.href);
  }
  typedEarly = null;
}

function paletteKey(event) {
  const opened = document.querySelector("dialog[open]");
  const isShortcut = event[isMac ? "metaKey" : "ctrlKey"] && !event.altKey && !event.shiftKey && event.key.toLowerCase() === "k";
  const isLetter = event.key.length === 1 && !event.ctrlKey && !event.metaKey;
  if (typedEarly !== null && !opened && (isLetter || isShortcut || event.key === "Escape")) {
    if (event.key === "Escape") typedEarly = null;
    else if (isLetter) typedEarly += event.key;
  } else if (!isShortcut && (event.key !== " " || event.target !== paletteLink)) return;
  else if (opened?.id === "palette") opened.close();
  else if (!opened) openPalette();
  event.preventDefault();
  event.stopImmediatePropagation();
}

if (paletteLink) {
  paletteLink.role = "button";
  paletteLink.ariaHasPopup = "dialog";
  if (isMac) paletteLink.querySelector("kbd").textContent = "⌘ K";
  document.addEventListener("keydown", paletteKey, true);
  paletteLink.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    openPalette();
  });
}

document.addEventListener("htmx:configRequest", (event) => {
  const token = csrfToken();
  if (!token) return;
  event.detail.headers["X-CSRFToken"] = token;
  if (event.detail.formData.has("csrfmiddlewaretoken")) event.detail.formData.set("csrfmiddlewaretoken", token);
});

const showUnreachable = () => showToast(gettext("The server cannot be reached. Nothing was saved."), "danger");
// a response may carry HX-Trigger: {"toast": {"text": …, "level": "ok|warn|danger"}}
document.addEventListener("toast", (event) => showToast(event.detail.text, event.detail.level));
// [data-own-errors]: that part of the page reports its own failures
document.addEventListener("htmx:sendError", (event) => {
  if (!event.target.closest("[data-own-errors]")) showUnreachable();
});
document.addEventListener("htmx:responseError", (event) => {
  if (event.target.closest("[data-own-errors]")) return;
  showToast(gettext("That did not work (error %(status)s). Reload the page and try again.", { status: event.detail.xhr.status }), "danger");
});
// Whoever was signed out meanwhile gets the sign-in page in place of a part of this one, which stays: something may be typed there.
let isSignedOut = false;
document.addEventListener("htmx:beforeSwap", (event) => {
  const wasSignedOut = isSignedOut;
  const { responseURL } = event.detail.xhr;
  isSignedOut = Boolean(responseURL) && new URL(responseURL).pathname === document.body.dataset.signInUrl;
  if (!isSignedOut || !event.detail.shouldSwap) return;
  event.detail.shouldSwap = false;
  if (!wasSignedOut) showToast(gettext("You are signed out. Sign in in another tab, then go on here."), "danger");
});
document.addEventListener("htmx:oobAfterSwap", (event) => {
  if (event.target.id === "toasts") event.target.querySelectorAll(".toast").forEach(removeLater);
});

// The user's time zone, at the first visit: the server's pages then show their days and hours.
const timeZoneUrl = document.body.dataset.timeZoneUrl;
if (timeZoneUrl) {
  const { timeZone } = Intl.DateTimeFormat().resolvedOptions();
  const body = new URLSearchParams({ time_zone: timeZone ?? "" });
  fetch(timeZoneUrl, { method: "POST", body, headers: { "X-CSRFToken": csrfToken() } }).catch(() => {});
}

// A judging page is swapped item by item: each brings the number of unread notifications.
document.addEventListener("judging:shown", (event) => {
  if (!("unread" in event.target.dataset)) return;
  const unread = Number(event.target.dataset.unread);
  document.querySelector("[data-unread-count]").textContent = unread;
  document.querySelector(".bell-count").hidden = unread === 0;
});

showTheme();
document.querySelectorAll(".toast").forEach(removeLater);
