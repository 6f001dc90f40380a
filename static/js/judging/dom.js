// The elements of the judging screen. #work is replaced with each item, so they are looked up when they are needed.

export const work = () => document.getElementById("work");
export const judgeForm = () => document.getElementById("judge");
export const answers = () => [...work().querySelectorAll(".answer")];
export const letterOf = (answer) => answer.dataset.letter;

export function answerByLetter(key) {
  return /^[a-iA-I]$/.test(key) ? work().querySelector(`.answer[data-letter="${key.toUpperCase()}"]`) : null;
}

// --- the current answer: the one that a digit ranks and that commands act on -----------------------------------

export const currentAnswer = () => work().querySelector(".answer.is-current") ?? answers()[0];

export function setCurrentAnswer(answer) {
  for (const other of answers()) other.classList.toggle("is-current", other === answer);
  for (const tab of work().querySelectorAll(".answer-tab")) tab.ariaCurrent = String(tab.dataset.show === letterOf(answer));
}

export function goTo(answer) {
  setCurrentAnswer(answer);
  answer.focus({ preventScroll: true });
  answer.scrollIntoView({ block: "nearest" });
}

document.addEventListener("focusin", (event) => {
  const answer = event.target.closest(".answer");
  if (answer) setCurrentAnswer(answer);
});

// --- for screen readers ---------------------------------------------------------------------------------------

export function announce(text) {
  document.getElementById("announcement").textContent = text;
}
