// The editor of a constitution: principles are added, and moved by buttons in place of numbered positions.
import { addRow, removeEmptyRow } from "./form-rows.js";
import { gettext } from "./gettext.js";

const form = document.querySelector("[data-principles]");
const rows = () => [...form.querySelectorAll("[data-row]")];
const nameOf = (row) => row.querySelector("[name$=-key]").value || gettext("New principle");

function showOrder() {
  const all = rows();
  all.forEach((row, index) => {
    row.querySelector("[name$=-ORDER]").value = index + 1;
    const title = nameOf(row);
    row.querySelector("[data-title]").textContent = title;
    row.querySelector("legend").textContent = title;
    row.querySelector('[data-move="-1"]').disabled = index === 0;
    row.querySelector('[data-move="1"]').disabled = index === all.length - 1;
  });
}

function move(row, button) {
  const other = button.dataset.move === "1" ? row.nextElementSibling : row.previousElementSibling;
  if (button.dataset.move === "1") other.after(row);
  else other.before(row);
  showOrder();
  const next = button.disabled ? row.querySelector("[data-move]:not(:disabled)") : button;
  next?.focus();
  row.scrollIntoView({ block: "nearest" });
  const place = { name: nameOf(row), number: rows().indexOf(row) + 1 };
  form.querySelector("[data-moved]").textContent = gettext("%(name)s is now number %(number)s.", place);
}

form.addEventListener("input", (event) => {
  if (event.target.matches("[name$=-key]")) showOrder();
});
form.addEventListener("click", (event) => {
  const button = event.target.closest("[data-move]");
  if (button) move(button.closest("[data-row]"), button);
  if (event.target.closest("[data-add]")) {
    const row = addRow(form);
    showOrder();
    row.querySelector("[name$=-key]").focus();
  }
});
removeEmptyRow(form);
showOrder();
