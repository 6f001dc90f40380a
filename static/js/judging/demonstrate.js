// The Demonstrate screen: an answer written or improved by a person, with its length and what has changed.
import { gettext } from "../gettext.js";
import * as diff from "./diff.js";
import * as ratings from "./ratings.js";

const editor = () => document.getElementById("text");
const number = new Intl.NumberFormat(document.documentElement.lang);

function showLength() {
  document.getElementById("characters").textContent = number.format([...editor().value].length);
  document.getElementById("words").textContent = number.format(editor().value.match(/\S+/g)?.length ?? 0);
}

export const handleKey = () => false;

export function findProblem() {
  if (!editor().value.trim()) return { text: gettext("Write the answer first."), element: editor() };
  return ratings.findProblem();
}

export function start() {
  ratings.start();
  showLength();
}

document.addEventListener("input", (event) => {
  if (event.target === editor()) showLength();
});
document.addEventListener("click", (event) => {
  if (!event.target.closest("[data-diff-original]")) return;
  diff.open(
    { title: gettext("The answer given"), label: gettext("only in the answer given"), text: document.getElementById("original-text").content.textContent },
    { title: gettext("Yours"), label: gettext("only in yours"), text: editor().value },
  );
});
