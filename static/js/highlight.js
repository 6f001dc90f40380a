// Colours code in rendered Markdown, one block after the other. A block that takes longer than its budget stays plain: the
// time of a regular expression can grow much faster than the text.
const BUDGET_MS = 200;
const LOADING_MS = 2000;
const CODE = 'pre > code[class^="language-"]:not([data-highlight])';
const workerUrl = document.querySelector("script[data-highlight-worker]").dataset.highlightWorker;
let worker = null;
let answer = null; // takes the HTML of the block that the worker has; null: it stays plain
let isBusy = false;

function startWorker() {
  worker = new Worker(workerUrl, { type: "module" });
  worker.addEventListener("message", ({ data }) => answer(data));
  worker.addEventListener("error", () => answer(null));
}

function stopWorker() {
  worker.terminate();
  worker = null;
  answer(null);
}

async function highlight(language, code) {
  const budget = worker ? BUDGET_MS : BUDGET_MS + LOADING_MS;
  if (!worker) startWorker();
  const timer = setTimeout(stopWorker, budget);
  const html = await new Promise((resolve) => {
    answer = resolve;
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker takes none
    worker.postMessage({ language, code });
  });
  clearTimeout(timer);
  return html;
}

async function highlightAll() {
  if (isBusy) return;
  isBusy = true;
  let element = document.querySelector(CODE);
  while (element) {
    element.dataset.highlight = "pending";
    const html = await highlight(element.className.slice("language-".length), element.textContent);
    if (html !== null) element.innerHTML = html; // spans around escaped text
    element.dataset.highlight = html === null ? "plain" : "done";
    element = document.querySelector(CODE);
  }
  isBusy = false;
}

new MutationObserver(highlightAll).observe(document.body, { childList: true, subtree: true });
highlightAll();
