// Two models compared: on request, the words are marked that only one of two answers has.
import { textOf } from "./formula-sources.js";
import { compareWords, splitWords, writeWords } from "./judging/word-diff.js";

const list = document.getElementById("rows");
const button = document.getElementById("differences");

function mark() {
  for (const row of list.querySelectorAll(".compared")) {
    const [first, second] = [...row.querySelectorAll(".side")].map((side) => [...side.querySelectorAll(".prose")]);
    for (let n = 0; n < Math.min(first.length, second.length); n++) markPair(first[n], second[n]);
  }
}

function markPair(left, right) {
  const [a, b] = [splitWords(textOf(left)), splitWords(textOf(right))];
  const inBoth = compareWords(a, b);
  replace(left, a, inBoth.left, "del", list.dataset.firstLabel);
  replace(right, b, inBoth.right, "ins", list.dataset.secondLabel);
}

// the rendered answer stays, hidden, for when differences are turned off again
function replace(prose, words, inBoth, tag, label) {
  const box = document.createElement("div");
  box.className = "diff-words";
  box.dir = "auto";
  writeWords(box, words, inBoth, tag, label);
  prose.hidden = true;
  prose.after(box);
}

function unmark() {
  for (const box of list.querySelectorAll(".diff-words")) {
    box.previousElementSibling.hidden = false;
    box.remove();
  }
}

// the address follows, so that it can be shared; and so do the links to other pages
function show(isOn) {
  button.setAttribute("aria-pressed", String(isOn));
  if (isOn) mark();
  else unmark();
  const address = new URL(location.href);
  setDiff(address, isOn);
  history.replaceState(history.state, "", address);
  for (const link of document.querySelectorAll('nav a[rel="prev"], nav a[rel="next"]')) {
    const target = new URL(link.href);
    setDiff(target, isOn);
    link.href = target.href;
  }
}

function setDiff(address, isOn) {
  if (isOn) address.searchParams.set("diff", "1");
  else address.searchParams.delete("diff");
}

if (list && button) {
  if ("differences" in list.dataset) mark();
  button.addEventListener("click", (event) => {
    event.preventDefault();
    show(button.getAttribute("aria-pressed") !== "true");
  });
  button.addEventListener("keydown", (event) => {
    if (event.key !== " ") return;
    event.preventDefault();
    button.click();
  });
}
