// The switch between a text as it is rendered and as it was written. The source is fetched when it is first asked for.
import { csrfToken } from "./csrf.js";
import { gettext } from "./gettext.js";
import { showToast } from "./toasts.js";

const SCOPE = ".answer, .turn";
const proseOf = (button) => button.closest(SCOPE).querySelector(".prose");
const sourceOf = (button) => button.closest(SCOPE).querySelector(".source");

async function fetchSource(button) {
  const root = button.closest("[data-source-url]");
  const of = new URLSearchParams({ of: button.dataset.sourceOf });
  const ticket = root.querySelector("#judge input[name=ticket]")?.value;
  const url = root.dataset.sourceUrl;
  const response = ticket
    ? await fetch(url, { method: "POST", body: new URLSearchParams([...of, ["ticket", ticket]]), headers: { "X-CSRFToken": csrfToken() } })
    : await fetch(`${url}?${of}`);
  if (!response.ok || response.redirected) throw new Error(`${response.status}`);
  return response.text();
}

async function toggleSource(button) {
  if (button.ariaBusy === "true") return;
  if (!sourceOf(button)) {
    button.ariaBusy = "true";
    try {
      const html = await fetchSource(button);
      const source = document.createElement("pre");
      source.className = "source";
      source.dir = "auto";
      source.hidden = true;
      source.innerHTML = html; // escaped text and marks of signs that cannot be seen
      proseOf(button).after(source);
    } catch {
      showToast(gettext("The source cannot be loaded now. The text below is the rendered one."), "danger");
      return;
    } finally {
      button.ariaBusy = null;
    }
  }
  const source = sourceOf(button);
  source.hidden = !source.hidden;
  proseOf(button).hidden = !source.hidden;
  button.querySelector("[data-label]").textContent = source.hidden ? gettext("Source") : gettext("Rendered");
  button.classList.toggle("is-source", !source.hidden);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest(".source-toggle");
  if (button) toggleSource(button);
});
