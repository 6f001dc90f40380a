// The Compare screen: one press is the choice and its degree.
import { gettext } from "../gettext.js";
import { answers, currentAnswer, letterOf, setCurrentAnswer, work } from "./dom.js";
import * as ratings from "./ratings.js";
import { msSinceShown } from "./screen.js";
import { digitOf } from "./shortcuts.js";

// A second press of the same button or key must not judge the item that has just come. In a chat the answers come by themselves,
// while one may be typing.
const PAUSE_MS = 400;
const CHAT_PAUSE_MS = 1_000;
const pauseMs = () => ("turn" in work().dataset ? CHAT_PAUSE_MS : PAUSE_MS);

export function handleKey(event) {
  const digit = event.repeat ? 0 : digitOf(event);
  if (!digit || digit > 8) return false;
  const button = work().querySelectorAll(".degree")[digit - 1];
  // where most items are ranked, a digit submits nothing: it is the choice, and Enter on the button submits
  if (work().querySelector("[data-digits-choose]")) button.focus();
  else button.click();
  return true;
}

export function findProblem(submitter) {
  if (msSinceShown() < pauseMs()) return { text: "" };
  if (!submitter?.matches(".degree")) return { text: gettext("Press one of the eight buttons: it is the choice and its degree.") };
  return ratings.findProblem() ?? (prefersUnsafe(submitter.dataset.side) ? { isForServer: true } : null);
}

// The server refuses to prefer an unsafe answer over a safe one, and offers to send the item to a reviewer.
function prefersUnsafe(side) {
  const preferred = answers().find((answer) => letterOf(answer) === side);
  const other = answers().find((answer) => letterOf(answer) !== side);
  return preferred.classList.contains("is-unsafe") && other.querySelector('input[value="safe"]')?.checked;
}

// The choice in words.
export const choice = (submitter) => submitter.title;

export function start() {
  const page = work();
  ratings.start();
  if (page.querySelector(".ratings")) setCurrentAnswer(currentAnswer()); // shows which answer a key rates
  page.removeAttribute("data-ready"); // it may have been on the screen before
  setTimeout(() => page.setAttribute("data-ready", ""), pauseMs());
}
