// The editor of a project's own questions: fields of other kinds are hidden, and rows are added.
import { gettext } from "./gettext.js";

const form = document.querySelector("[data-questions]");
const total = form.querySelector("[name=form-TOTAL_FORMS]");

function showFields(row) {
  const kind = row.querySelector("select").value;
  for (const part of row.querySelectorAll("[data-for]")) part.hidden = !part.dataset.for.split(" ").includes(kind);
}

function addRow(values) {
  const empty = form.querySelector("[data-empty]");
  const holder = document.createElement("template");
  holder.innerHTML = empty.innerHTML.replaceAll("__prefix__", total.value);
  const row = holder.content.querySelector("[data-question]");
  for (const [name, value] of Object.entries(values)) row.querySelector(`[name="form-${total.value}-${name}"]`).value = value;
  empty.before(row);
  total.value = Number(total.value) + 1;
  showFields(row);
  row.querySelector("[name$=label]").focus();
}

form.addEventListener("change", (event) => {
  if (event.target.matches("select")) showFields(event.target.closest("[data-question]"));
});
form.addEventListener("input", (event) => {
  if (event.target.matches("[name$=label]")) event.target.closest("[data-question]").querySelector("legend").textContent = event.target.value || gettext("New question");
});
form.addEventListener("click", (event) => {
  const button = event.target.closest("[data-add-question]");
  if (button) addRow(JSON.parse(button.dataset.addQuestion));
});
form.querySelectorAll("[data-question]").forEach(showFields);
