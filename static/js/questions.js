// The editor of a project's own questions: fields of other kinds are hidden, and rows are added.
import { addRow } from "./form-rows.js";
import { gettext } from "./gettext.js";

const form = document.querySelector("[data-questions]");

function showFields(row) {
  const kind = row.querySelector("select").value;
  for (const part of row.querySelectorAll("[data-for]")) part.hidden = !part.dataset.for.split(" ").includes(kind);
}

form.addEventListener("change", (event) => {
  if (event.target.matches("select")) showFields(event.target.closest("[data-question]"));
});
form.addEventListener("input", (event) => {
  if (event.target.matches("[name$=label]")) event.target.closest("[data-question]").querySelector("legend").textContent = event.target.value || gettext("New question");
});
form.addEventListener("click", (event) => {
  const button = event.target.closest("[data-add-question]");
  if (!button) return;
  const row = addRow(form, JSON.parse(button.dataset.addQuestion));
  showFields(row);
  row.querySelector("[name$=label]").focus();
});
form.querySelectorAll("[data-question]").forEach(showFields);
