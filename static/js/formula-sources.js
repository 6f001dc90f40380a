// The sources of typeset formulas, for what reads the text of a page.

// Replaces each formula with its source, for good; for a copy of a text.
export function showSources(root) {
  for (const box of root.querySelectorAll("[data-source]")) box.replaceWith(box.dataset.source);
}

// The text of an element as it is laid out, with formulas as they were written.
export function textOf(element) {
  const boxes = [...element.querySelectorAll("[data-source]")];
  const contents = boxes.map((box) => [...box.childNodes]);
  for (const box of boxes) box.textContent = box.dataset.source;
  const text = element.innerText;
  boxes.forEach((box, i) => box.replaceChildren(...contents[i]));
  return text;
}
