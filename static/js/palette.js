// The command palette: opened by Ctrl K (⌘ K) or its button, filled by the server while one types, and used by keys alone.
// The focus stays in the text field; the option that Enter opens is its active descendant.
import { gettext } from "./gettext.js";

const dialog = document.getElementById("palette");
const isMac = /Mac|iPhone|iPad/.test(navigator.platform);

if (dialog) start();

function start() {
  const input = dialog.querySelector("input");
  const status = dialog.querySelector("[role=status]");
  // Enter was pressed before the results of what was typed had come
  let isWaiting = false;

  const options = () => [...dialog.querySelectorAll("[role=option]")];
  const active = () => dialog.querySelector("[aria-selected=true]");
  const isCurrent = () => dialog.querySelector("#palette-list").dataset.query === input.value.trim().split(/\s+/).join(" ");

  function open() {
    if (document.querySelector("dialog[open]")) return;
    isWaiting = false;
    dialog.showModal();
    input.select();
    input.dispatchEvent(new CustomEvent("palette:open"));
  }

  function select(option) {
    active()?.setAttribute("aria-selected", "false");
    if (!option) return input.removeAttribute("aria-activedescendant");
    option.setAttribute("aria-selected", "true");
    option.scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", option.id);
  }

  function move(step) {
    const all = options();
    if (all.length) select(all[(all.indexOf(active()) + step + all.length) % all.length]);
  }

  function go() {
    if (!isCurrent()) isWaiting = true;
    else active()?.click();
  }

  for (const opener of document.querySelectorAll("[data-open-palette]")) {
    opener.setAttribute("role", "button");
    opener.setAttribute("aria-haspopup", "dialog");
    const hint = opener.querySelector("kbd");
    if (hint && isMac) hint.textContent = "⌘ K";
    opener.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      open();
    });
    opener.addEventListener("keydown", (event) => {
      if (event.key !== " ") return;
      event.preventDefault();
      open();
    });
  }

  document.addEventListener("keydown", (event) => {
    const modifier = isMac ? event.metaKey && !event.ctrlKey : event.ctrlKey && !event.metaKey;
    if (!modifier || event.altKey || event.shiftKey || event.key.toLowerCase() !== "k" || event.isComposing) return;
    event.preventDefault();
    if (dialog.open) dialog.close();
    else open();
  });

  input.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "ArrowDown") move(1);
    else if (event.key === "ArrowUp") move(-1);
    else if (event.key === "Enter") go();
    else return;
    event.preventDefault();
  });
  input.addEventListener("input", () => (isWaiting = false));

  dialog.addEventListener("pointermove", (event) => {
    const option = event.target.closest("[role=option]");
    if (option && option !== active()) select(option);
  });
  // a link to a part of this very page loads nothing
  dialog.addEventListener("click", (event) => {
    if (event.target.closest("[role=option]") && !event.ctrlKey && !event.metaKey) dialog.close();
  });

  dialog.addEventListener("htmx:beforeSwap", (event) => {
    // whoever was signed out meanwhile got the sign-in page
    if (event.detail.xhr.status === 200 && !event.detail.serverResponse.includes('id="palette-list"')) {
      event.detail.shouldSwap = false;
      window.location.reload();
    }
  });
  dialog.addEventListener("htmx:afterSwap", () => {
    select(options()[0]);
    status.textContent = dialog.querySelector("#palette-list").dataset.status;
    if (isWaiting && isCurrent()) go();
  });
  for (const failure of ["htmx:sendError", "htmx:responseError", "htmx:timeout"]) {
    dialog.addEventListener(failure, () => (status.textContent = gettext("The server did not answer. Type on to try again.")));
  }
}
