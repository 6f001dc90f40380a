// A text that does not fit scrolls in its own box, and a button shows all of it.
import { gettext } from "../gettext.js";

const observer = new ResizeObserver((entries) => entries.forEach((entry) => checkLength(entry.target)));

// What its region and its buttons are called: the letter is that of an answer, and the last message has none.
function namesOf(box) {
  const letter = box.closest(".answer")?.dataset.letter;
  return letter
    ? { text: gettext("Text of answer %(letter)s", { letter }), all: gettext("Show all of answer %(letter)s", { letter }), less: gettext("Show less of answer %(letter)s", { letter }) }
    : { text: gettext("Text of the last message"), all: gettext("Show all of the last message"), less: gettext("Show less of the last message") };
}

export function watchLength(box) {
  observer.observe(box);
  checkLength(box);
}

function checkLength(box) {
  const isLong = box.classList.contains("is-open") || box.scrollHeight > box.clientHeight + 8;
  box.classList.toggle("is-long", isLong);
  const existing = buttonOf(box);
  if (existing) existing.hidden = !isLong;
  if (existing || !isLong) return;
  box.tabIndex = 0;
  box.setAttribute("role", "region");
  box.setAttribute("aria-label", namesOf(box).text);
  const button = document.createElement("button");
  button.type = "button";
  button.className = "more";
  button.textContent = namesOf(box).all;
  button.setAttribute("aria-expanded", "false");
  box.after(button);
}

export function toggleLength(box) {
  const button = buttonOf(box);
  if (!button) return;
  const isOpen = box.classList.toggle("is-open");
  button.textContent = isOpen ? namesOf(box).less : namesOf(box).all;
  button.setAttribute("aria-expanded", String(isOpen));
  if (!isOpen) box.parentElement.scrollIntoView({ block: "nearest" });
}

const buttonOf = (box) => (box.nextElementSibling?.classList.contains("more") ? box.nextElementSibling : null);

document.addEventListener("click", (event) => {
  const button = event.target.closest(".more");
  if (button) toggleLength(button.previousElementSibling);
});
