// The Demonstrate screen: the answer that one writes, with its length and what has changed.
"use strict";

screens.write = screens.improve = (() => {
  const editor = () => document.getElementById("text");
  const number = new Intl.NumberFormat("en");

  function count() {
    document.getElementById("characters").textContent = number.format([...editor().value].length);
    document.getElementById("words").textContent = number.format(editor().value.match(/\S+/g)?.length ?? 0);
  }

  function refuses() {
    if (!editor().value.trim()) return { text: "Write the answer first.", at: editor() };
    return marks.refuses();
  }

  function start() {
    marks.start();
    count();
  }

  document.addEventListener("input", (event) => {
    if (event.target === editor()) count();
  });
  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-diff-given]")) return;
    differences.between("the answer given", document.getElementById("given").content.textContent, "yours", editor().value);
  });

  return { start, key: () => false, refuses };
})();
