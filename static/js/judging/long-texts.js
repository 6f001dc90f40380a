// A text that does not fit scrolls in its own box, and a button shows all of it.

const observer = new ResizeObserver((entries) => entries.forEach((entry) => checkLength(entry.target)));

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
  box.setAttribute("aria-label", `Text of ${box.dataset.name}`);
  const button = document.createElement("button");
  button.type = "button";
  button.className = "more";
  button.textContent = `Show all of ${box.dataset.name}`;
  button.setAttribute("aria-expanded", "false");
  box.after(button);
}

export function toggleLength(box) {
  const button = buttonOf(box);
  if (!button) return;
  const isOpen = box.classList.toggle("is-open");
  button.textContent = `${isOpen ? "Show less" : "Show all"} of ${box.dataset.name}`;
  button.setAttribute("aria-expanded", String(isOpen));
  if (!isOpen) box.parentElement.scrollIntoView({ block: "nearest" });
}

const buttonOf = (box) => (box.nextElementSibling?.classList.contains("more") ? box.nextElementSibling : null);

document.addEventListener("click", (event) => {
  const button = event.target.closest(".more");
  if (button) toggleLength(button.previousElementSibling);
});
