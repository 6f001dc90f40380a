// Adding rows to a form that has several: Django counts them, and its template's names hold a place for the number.

const totalOf = (form) => form.querySelector("[name=form-TOTAL_FORMS]");

// Without scripts the last row is there to be filled: it goes where a button adds one.
export function removeEmptyRow(form) {
  const total = totalOf(form);
  const number = Number(total.value) - 1;
  const fields = [...form.querySelectorAll(`[name^="form-${number}-"]:not([name$=-ORDER])`)];
  if (fields.some((field) => (field.type === "checkbox" ? field.checked : field.value))) return;
  fields[0]?.closest("[data-row]").remove();
  total.value = number;
}

export function addRow(form, values = {}) {
  const total = totalOf(form);
  const empty = form.querySelector("[data-empty]");
  const holder = document.createElement("template");
  holder.innerHTML = empty.innerHTML.replaceAll("__prefix__", total.value);
  const row = holder.content.firstElementChild;
  for (const [name, value] of Object.entries(values)) row.querySelector(`[name="form-${total.value}-${name}"]`).value = value;
  empty.before(row);
  total.value = Number(total.value) + 1;
  return row;
}
