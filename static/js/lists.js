// Lists whose rows can be selected: the box that selects a page, and how many are selected.
import { ngettext } from "./gettext.js";

const rows = () => document.querySelectorAll("[data-check-row]");

function showCount() {
  const count = document.querySelector("[data-check-count]");
  if (!count) return;
  const boxes = [...rows()];
  const checked = boxes.filter((box) => box.checked).length;
  count.closest("form").classList.toggle("is-shown", checked > 0);
  count.textContent = checked ? ngettext("%(n)s selected", "%(n)s selected", checked) : "";
  const page = document.querySelector("[data-check-page]");
  page.checked = checked === boxes.length;
  page.indeterminate = checked > 0 && checked < boxes.length;
  const all = document.querySelector("[data-check-all]");
  if (all && checked < boxes.length) all.checked = false;
}

document.addEventListener("change", (event) => {
  const box = event.target;
  if (box.matches("[data-check-page]") || (box.matches("[data-check-all]") && box.checked)) {
    for (const row of rows()) row.checked = box.checked;
  }
  if (box.matches("[data-check-page], [data-check-all], [data-check-row]")) showCount();
});

// with Shift, all rows from the last one that was pressed
let last = null;
document.addEventListener("click", (event) => {
  if (!event.target.matches("[data-check-row]")) return;
  const [boxes, box] = [[...rows()], event.target];
  if (event.shiftKey && boxes.includes(last)) {
    const ends = [boxes.indexOf(last), boxes.indexOf(box)];
    for (const row of boxes.slice(Math.min(...ends), Math.max(...ends) + 1)) row.checked = box.checked;
    showCount();
  }
  last = box;
});

document.addEventListener("htmx:afterSwap", showCount);
// A browser may restore the boxes of a page that one comes back to, some only after the scripts, and without a change event.
addEventListener("pageshow", () => setTimeout(showCount));
showCount();
