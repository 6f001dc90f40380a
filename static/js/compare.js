// The Compare screen: one press is the choice and its degree.
"use strict";

screens.compare = (() => {
  // a second press of the same button or key must not judge the item that has just come
  const PAUSE_MS = 400;

  function key(event) {
    if (event.shiftKey || event.repeat || !/^[1-8]$/.test(event.key)) return false;
    work().querySelectorAll(".degree")[Number(event.key) - 1].click();
    return true;
  }

  function refuses(submitter) {
    if (performance.now() - shownAt < PAUSE_MS) return { text: "" };
    if (!submitter?.matches(".degree")) return { text: "Press one of the eight buttons: it is the choice and its degree." };
    return marks.refuses() ?? prefersUnsafe(submitter.dataset.side);
  }

  // The server refuses it too, and then offers a reviewer; there is no need to show another item meanwhile.
  function prefersUnsafe(side) {
    const isUnsafe = (answer) => answer.classList.contains("is-unsafe");
    const preferred = answers().find((answer) => letterOf(answer) === side);
    const other = answers().find((answer) => letterOf(answer) !== side);
    const safe = other.querySelector('input[value="safe"]');
    return isUnsafe(preferred) && safe?.checked ? { ask: true } : null;
  }

  function start(work) {
    marks.start();
    if (work.querySelector(".marks")) mark(current()); // the one that a key marks is seen to be so
    setTimeout(() => work.setAttribute("data-ready", ""), PAUSE_MS);
  }

  return { start, key, refuses };
})();
