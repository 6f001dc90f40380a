// Comments on passages of the answers, loaded where a project asks for them. A selection within an answer offers one; they travel in a hidden field, as JSON.
import { announce, answers, goTo, letterOf, work } from "./dom.js";
import { gettext } from "../gettext.js";
import { showSources } from "../formula-sources.js";
import { saveDraftSoon } from "./drafts.js";

const MAX_QUOTE_CHARS = 2_000;
const chosen = new WeakMap(); // by answer: the passage that the next comment is about

const fieldOf = (answer) => answer.querySelector(`input[name="comments-${letterOf(answer)}"]`);
const commentsOf = (answer) => JSON.parse(fieldOf(answer).value || "[]");

function store(answer, comments) {
  fieldOf(answer).value = JSON.stringify(comments);
  show(answer);
  saveDraftSoon();
}

// --- showing ------------------------------------------------------------------------------------------------

function show(answer) {
  const comments = commentsOf(answer);
  answer.querySelector("[data-comment-count]").textContent = comments.length || "";
  answer.querySelector(".comment-list").replaceChildren(...comments.map(itemOf));
  highlight();
}

function itemOf({ quote, text }, number) {
  const item = document.createElement("li");
  const words = document.createElement("p");
  if (quote) {
    const passage = document.createElement("q");
    passage.textContent = quote;
    words.append(passage, " ");
  }
  words.append(text);
  words.dir = "auto";
  const remove = document.createElement("button");
  Object.assign(remove, { type: "button", className: "icon-button", textContent: "×" });
  remove.setAttribute("aria-label", gettext("Remove comment %(number)s", { number: number + 1 }));
  remove.dataset.removeComment = number;
  item.append(words, remove);
  return item;
}

// The passages are marked in the text, where the browser can do that without changing it.
function highlight() {
  if (!globalThis.Highlight) return;
  const ranges = answers().filter(fieldOf).flatMap((answer) => commentsOf(answer).map((comment) => rangeOf(answer, comment)));
  CSS.highlights.set("comment", new Highlight(...ranges.filter(Boolean)));
}

function textNodes(root) {
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  const nodes = [];
  while (walker.nextNode()) nodes.push(walker.currentNode);
  return nodes;
}

function rangeOf(answer, { quote, occurrence }) {
  const prose = answer.querySelector(".prose");
  const before = quote ? prose.textContent.split(quote).slice(0, occurrence + 1) : [];
  const place = before.join(quote).length;
  if (!quote || before.length <= occurrence || place === prose.textContent.length) return null;
  const range = document.createRange();
  let passed = 0;
  for (const node of textNodes(prose)) {
    const end = passed + node.length;
    if (place >= passed && place < end) range.setStart(node, place - passed);
    if (place + quote.length > passed && place + quote.length <= end) range.setEnd(node, place + quote.length - passed);
    passed = end;
  }
  return range;
}

// --- a selection ----------------------------------------------------------------------------------------------

// The text of a part of the page, with formulas as they were written.
function writtenText(part) {
  const copy = document.createElement("div");
  copy.append(part);
  showSources(copy);
  return copy.textContent;
}

const countOf = (text, words) => text.split(words).length - 1;

// The selected passage of an answer: its words, which of the places with these words it is, and how many there are.
function selectedPassage() {
  const selection = document.getSelection();
  if (!selection?.rangeCount || selection.isCollapsed) return null;
  const range = selection.getRangeAt(0);
  const element = range.commonAncestorContainer.nodeType === Node.TEXT_NODE ? range.commonAncestorContainer.parentElement : range.commonAncestorContainer;
  const prose = element.closest(".answer :is(.prose, .source)");
  const answer = prose?.closest(".answer");
  if (!answer || !fieldOf(answer)) return null;
  const before = document.createRange();
  before.setStart(prose, 0);
  before.setEnd(range.startContainer, range.startOffset);
  const quote = writtenText(range.cloneContents()).trim().slice(0, MAX_QUOTE_CHARS);
  if (!quote) return null;
  const occurrence = countOf(writtenText(before.cloneContents()), quote);
  return { answer, quote, occurrence, occurrences: countOf(writtenText(prose.cloneNode(true)), quote) };
}

function choose(answer, passage) {
  if (passage) chosen.set(answer, passage);
  else chosen.delete(answer);
  const line = answer.querySelector(".comment-quote");
  line.hidden = !passage;
  line.querySelector("q").textContent = passage?.quote ?? "";
  answer.querySelector("[data-comment-target]").textContent = passage ? gettext("A comment on this passage") : gettext("A comment on the whole answer");
}

document.addEventListener("selectionchange", () => {
  const passage = selectedPassage();
  if (!passage) return;
  const { answer, ...chosenPassage } = passage;
  choose(answer, chosenPassage);
  answer.querySelector("details.comments").classList.add("has-passage");
});

// --- events ---------------------------------------------------------------------------------------------------

function add(answer) {
  const box = answer.querySelector("[data-comment-text]");
  const text = box.value.trim();
  if (!text) return box.focus();
  store(answer, [...commentsOf(answer), { text, ...(chosen.get(answer) ?? { quote: "" }) }]);
  box.value = "";
  choose(answer, null);
  announce(gettext("Comment added. Answer %(letter)s has %(number)s.", { letter: letterOf(answer), number: commentsOf(answer).length }));
  return box.focus();
}

document.addEventListener("click", (event) => {
  const part = event.target.closest("details.comments");
  const answer = part?.closest(".answer");
  if (!answer) return;
  if (event.target.closest("[data-add-comment]")) add(answer);
  else if (event.target.closest("[data-clear-quote]")) choose(answer, null);
  else if (event.target.closest("[data-remove-comment]")) {
    store(answer, commentsOf(answer).toSpliced(Number(event.target.closest("[data-remove-comment]").dataset.removeComment), 1));
    goTo(answer);
  }
});

export function start() {
  for (const answer of work().querySelectorAll(".answer:has(details.comments)")) show(answer);
}

// What stands in a box when the item is submitted is a comment, too: added before the form is read.
document.addEventListener("submit", () => {
  for (const answer of work().querySelectorAll(".answer:has(details.comments)")) {
    if (answer.querySelector("[data-comment-text]").value.trim()) add(answer);
  }
}, { capture: true });
