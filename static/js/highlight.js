// Colours code in rendered Markdown, one block after the other. A block that takes longer than its budget stays plain: the
// time of a regular expression can grow much faster than the text.
const BUDGET_MS = 200;
const LOADING_MS = 2000;
const MAX_STOPS = 3; // then all code of the page stays plain
const CODE = 'pre > code[class^="language-"]:not([data-highlight])';
const workerUrl = document.querySelector("script[data-highlight-worker]").dataset.highlightWorker;
let worker = null;
let stops = 0;
let isBusy = false;

// The worker's next message; null if it does not come in time, which ends the worker.
function nextMessage(budget) {
  return new Promise((resolve) => {
    const finish = (message) => {
      clearTimeout(timer);
      if (message === null) {
        worker.terminate();
        worker = null;
        stops += 1;
      }
      resolve(message);
    };
    const timer = setTimeout(() => finish(null), budget);
    worker.addEventListener("message", ({ data }) => finish(data), { once: true });
    worker.addEventListener("error", () => finish(null), { once: true });
  });
}

async function startWorker() {
  worker = new Worker(workerUrl, { type: "module" });
  await nextMessage(LOADING_MS);
}

async function highlight(language, code) {
  if (!worker && stops < MAX_STOPS) await startWorker();
  if (!worker) return null;
  const answer = nextMessage(BUDGET_MS);
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker takes none
  worker.postMessage({ language, code });
  return (await answer)?.html ?? null;
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
