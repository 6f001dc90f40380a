// The Compare screen: one press is the choice and its degree.
"use strict";

screens.compare = (() => {
  // a second press of the same button or key must not judge the item that has just come
  const PAUSE_MS = 400;

  function key(event) {
    const answer = answerByLetter(event.key);
    if (answer) {
      goTo(answer);
      return true;
    }
    const button = work().querySelectorAll(".degree")[Number(event.key) - 1];
    if (!button || event.repeat) return false;
    button.click();
    return true;
  }

  function start(work) {
    work.querySelectorAll(".answer").forEach((answer) => {
      answer.addEventListener("focusin", () => answer.classList.add("is-current"));
      answer.addEventListener("focusout", () => answer.classList.remove("is-current"));
    });
    setTimeout(() => work.setAttribute("data-ready", ""), PAUSE_MS);
  }

  document.addEventListener("submit", (event) => {
    if (event.target !== judgeForm() || work().dataset.kind !== "compare") return;
    if (performance.now() - shownAt < PAUSE_MS) {
      event.preventDefault();
      event.stopImmediatePropagation();
      return;
    }
    event.submitter?.classList.add("is-pressed");
  }, true);

  return { start, key };
})();
