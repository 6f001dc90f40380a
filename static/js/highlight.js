// Colours code in rendered Markdown, one block after the other. A block that takes longer than its budget stays plain.
import { timedWorker } from "./timed-worker.js";

const BUDGET_MS = 200;
// a block with a mark of a sign that cannot be seen stays plain too, so that the mark is seen
const CODE = 'pre > code[class^="language-"]:not([data-highlight], :has(.invisible))';
const ask = timedWorker(document.querySelector("script[data-highlight-worker]").dataset.highlightWorker, BUDGET_MS);
document.addEventListener("judging:shown", ask.reset);
let isBusy = false;

async function highlightAll() {
  if (isBusy) return;
  isBusy = true;
  let element = document.querySelector(CODE);
  while (element) {
    element.dataset.highlight = "pending";
    const answer = await ask({ language: element.className.slice("language-".length), code: element.textContent });
    const html = answer?.html ?? null;
    if (html !== null) element.innerHTML = html; // spans around escaped text
    element.dataset.highlight = html === null ? "plain" : "done";
    element = document.querySelector(CODE);
  }
  isBusy = false;
}

new MutationObserver(highlightAll).observe(document.body, { childList: true, subtree: true });
highlightAll();
