// A button that copies a field's text; where the browser does not allow it, the text is selected for the person to copy.
import { gettext } from "./gettext.js";
import { showToast } from "./toasts.js";

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const field = document.querySelector(button.dataset.copy);
  field.select();
  try {
    await navigator.clipboard.writeText(field.value);
    showToast(gettext("Copied."));
  } catch {
    showToast(gettext("Press Ctrl+C to copy it."), "warn");
  }
});
