// Adding rows to a form that has several: Django counts them, and its template's names hold a place for the number.

export function addRow(form, values = {}) {
  const total = form.querySelector("[name=form-TOTAL_FORMS]");
  const empty = form.querySelector("[data-empty]");
  const holder = document.createElement("template");
  holder.innerHTML = empty.innerHTML.replaceAll("__prefix__", total.value);
  const row = holder.content.firstElementChild;
  for (const [name, value] of Object.entries(values)) row.querySelector(`[name="form-${total.value}-${name}"]`).value = value;
  empty.before(row);
  total.value = Number(total.value) + 1;
  return row;
}
