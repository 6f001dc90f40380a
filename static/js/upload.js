// A file dropped on the form is the form's file; a bar shows how much of it is up. Imports that move are followed.
import { openLiveSocket } from "./live-socket.js";

document.addEventListener("dragover", (event) => {
  const place = event.target.closest("[data-drop-zone]");
  if (!place) return;
  event.preventDefault();
  place.classList.add("is-over");
});
document.addEventListener("dragleave", (event) => {
  const place = event.target.closest("[data-drop-zone]");
  if (place && !place.contains(event.relatedTarget)) place.classList.remove("is-over");
});
document.addEventListener("drop", (event) => {
  const place = event.target.closest("[data-drop-zone]");
  if (!place) return;
  event.preventDefault();
  place.classList.remove("is-over");
  const input = place.querySelector('input[type="file"]');
  if (!event.dataTransfer.files.length) return;
  input.files = event.dataTransfer.files;
  input.form.requestSubmit();
});
document.addEventListener("htmx:xhr:progress", (event) => {
  const bar = event.target.querySelector?.("[data-upload-progress]");
  if (!bar || !event.detail.lengthComputable) return;
  bar.hidden = false;
  bar.max = event.detail.total;
  bar.value = event.detail.loaded;
});

// who made the preferences matters only if they are imported
document.addEventListener("change", ({ target }) => {
  const asked = target.form?.querySelector("[data-unless-left-out]");
  if (asked && target.name === "judgments") asked.disabled = target.value === "leave out";
});

const imports = document.querySelector("[data-imports-socket]");
if (imports) {
  openLiveSocket(imports.dataset.importsSocket, (event) => {
    if (event.kind === "import") document.body.dispatchEvent(new CustomEvent("importchanged"));
  });
}
