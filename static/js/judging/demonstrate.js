// The Demonstrate screen: an answer written or improved by a person, with its length and what has changed.
import * as diff from "./diff.js";
import * as ratings from "./ratings.js";

const editor = () => document.getElementById("text");
const number = new Intl.NumberFormat("en");

function showLength() {
  document.getElementById("characters").textContent = number.format([...editor().value].length);
  document.getElementById("words").textContent = number.format(editor().value.match(/\S+/g)?.length ?? 0);
}

export const handleKey = () => false;

export function findProblem() {
  if (!editor().value.trim()) return { text: "Write the answer first.", element: editor() };
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
  diff.open("the answer given", document.getElementById("original-text").content.textContent, "yours", editor().value);
});
