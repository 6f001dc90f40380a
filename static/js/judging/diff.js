// The dialog with two texts side by side, in which the words that only one of them has are marked.
import { textOf } from "../formula-sources.js";
import { gettext } from "../gettext.js";
import { showToast } from "../toasts.js";
import { answerByLetter, answers, currentAnswer, letterOf } from "./dom.js";
import { answerOf, commandOf } from "./shortcuts.js";

let latest = null; // what was asked for last: while the module loads, another answer may be chosen

// left, right: {title, label of the words that only it has, text}. What compares them is loaded by the first use.
export async function open(left, right) {
  latest = right;
  const dialog = document.getElementById("diff");
  if (!dialog.open) {
    document.getElementById("diff-choice").replaceChildren();
    dialog.showModal();
  }
  showTitle("diff-left-title", left, "del");
  showTitle("diff-right-title", right, "ins");
  const wordDiff = await import("./word-diff.js").catch(() => null);
  if (latest !== right) return;
  if (!wordDiff) {
    dialog.close();
    return showToast(gettext("Without a network, differences are shown only if they were before."), "warn");
  }
  const { compareWords, splitWords, writeWords } = wordDiff;
  const words = { left: splitWords(left.text), right: splitWords(right.text) };
  const inBoth = compareWords(words.left, words.right);
  const shared = inBoth.left.filter(Boolean).length + inBoth.right.filter(Boolean).length;
  const percent = Math.round((100 * shared) / Math.max(1, words.left.length + words.right.length));
  document.getElementById("diff-title").textContent = gettext("%(share)s of the words are the same", { share: `${percent}%` });
  writeWords(document.getElementById("diff-left"), words.left, inBoth.left, "del", left.label);
  writeWords(document.getElementById("diff-right"), words.right, inBoth.right, "ins", right.label);
}

// With what its marks mean, in the mark itself.
function showTitle(id, { title, label }, tag) {
  const mark = Object.assign(document.createElement(tag), { textContent: label });
  document.getElementById(id).replaceChildren(title, " ", mark);
}

// --- of two answers ---------------------------------------------------------------------------------------

let subject = null; // the answer on the left

const titleOf = (answer) => gettext("Answer %(letter)s", { letter: letterOf(answer) });

function sideOf(answer) {
  const label = gettext("only in answer %(letter)s", { letter: letterOf(answer) });
  return { title: titleOf(answer), label, text: textOf(answer.querySelector(".prose")) };
}

export function openForAnswer(answer, other = answers()[(answers().indexOf(answer) + 1) % answers().length]) {
  subject = answer;
  const comparison = open(sideOf(answer), sideOf(other));
  const buttons = answers().filter((candidate) => candidate !== answer).map((candidate) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button small";
    button.textContent = letterOf(candidate);
    button.setAttribute("aria-label", titleOf(candidate));
    button.setAttribute("aria-pressed", String(candidate === other));
    return button;
  });
  document.getElementById("diff-choice").replaceChildren(...(buttons.length > 1 ? buttons : []));
  return comparison;
}

// another letter, another answer on the right
export function handleKey(event) {
  const other = subject && answerOf(event);
  if (other && other !== subject) openForAnswer(subject, other);
  else if (commandOf(event) === "differences") document.getElementById("diff").close();
  else return false;
  return true;
}

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-open-diff]")) openForAnswer(currentAnswer());
  const button = event.target.closest("#diff-choice button");
  if (!button) return;
  openForAnswer(subject, answerByLetter(button.textContent));
  [...document.querySelectorAll("#diff-choice button")].find((choice) => choice.ariaPressed === "true")?.focus();
});
