// The command palette, which base.js loads when it is first opened: filled by the server while one types, and used by keys
// alone. The focus stays in the text field; the option that Enter opens is its active descendant.
import { gettext } from "./gettext.js";

const SIGN = '<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.75" stroke-linecap="round" aria-hidden="true">';

let dialog, input, status, loading;
// Enter was pressed before the results of what was typed had come
let isWaiting = false;

// `opener` is the link to the palette's page; `typed` returns what was typed before the palette was there, null where Escape was.
export async function open(opener, typed) {
  if (!dialog) build(opener);
  loading ??= styles(opener.dataset.palette);
  await loading;
  if (typed() === null || dialog.open) return;
  isWaiting = false;
  dialog.showModal();
  input.value = typed();
  input.dispatchEvent(new CustomEvent("palette:open"));
}

function styles(href) {
  const link = Object.assign(document.createElement("link"), { rel: "stylesheet", href });
  return new Promise((resolve) => {
    for (const end of ["load", "error"]) link.addEventListener(end, resolve);
    document.head.append(link);
  });
}

function build(opener) {
  dialog = document.createElement("dialog");
  dialog.id = dialog.className = "palette";
  dialog.dataset.ownErrors = "";
  dialog.setAttribute("aria-label", gettext("Go to"));
  dialog.innerHTML = `<div class="palette-head">${SIGN}<circle cx="11" cy="11" r="6.5"/><path d="m16 16 4.5 4.5"/></svg>
    <input type="text" name="q" role="combobox" aria-expanded="true" aria-controls="palette-list" aria-autocomplete="list" maxlength="100"
      autocomplete="off" autocapitalize="off" spellcheck="false" enterkeyhint="go" hx-target="#palette-results" hx-sync="this:replace">
    <button class="icon-button" type="button" data-close-dialog>${SIGN}<path d="m6 6 12 12M18 6 6 18"/></svg></button></div>
    <div id="palette-results"><div role="listbox" id="palette-list"></div></div>
    <p class="palette-status small muted" role="status"></p>`;
  input = dialog.querySelector("input");
  status = dialog.querySelector("[role=status]");
  input.setAttribute("aria-label", gettext("Name or number"));
  input.placeholder = gettext("Page, person, item 12…");
  input.setAttribute("hx-get", opener.getAttribute("href"));
  input.setAttribute("hx-trigger", "palette:open,input changed delay:150ms");
  dialog.querySelector("#palette-list").setAttribute("aria-label", gettext("Results"));
  dialog.querySelector("button").setAttribute("aria-label", gettext("Close"));
  document.body.append(dialog);
  window.htmx.process(dialog);
  listen();
}

const options = () => [...dialog.querySelectorAll("[role=option]")];
const active = () => dialog.querySelector("[aria-selected=true]");
const list = () => dialog.querySelector("#palette-list");
const isCurrent = () => list().dataset.query === input.value.trim().split(/\s+/).join(" ");

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
  if (isCurrent()) active()?.click();
  else isWaiting = true;
}

function listen() {
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
    status.textContent = list().dataset.status;
    if (isWaiting && isCurrent()) go();
  });
  for (const failure of ["htmx:sendError", "htmx:responseError", "htmx:timeout"]) {
    dialog.addEventListener(failure, () => (status.textContent = gettext("The server did not answer. Type on to try again.")));
  }
}
