// A worker that is ended when an answer takes longer than its budget: the time of a regular expression or of a macro can grow
// much faster than the text. After a few such ends it answers nothing more, until it is reset.
const LOADING_MS = 10_000; // its download, which no text prolongs
const MAX_STOPS = 3;

// Returns ask(message), which resolves to the worker's answer; null if it does not come in time. One question at a time.
export function timedWorker(url, budgetMs) {
  let worker = null;
  let stops = 0;

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

  async function start() {
    worker = new Worker(url, { type: "module" });
    await nextMessage(LOADING_MS);
  }

  async function ask(message) {
    if (!worker && stops < MAX_STOPS) await start();
    if (!worker) return null;
    const answer = nextMessage(budgetMs);
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker takes none
    worker.postMessage(message);
    return answer;
  }
  ask.reset = () => {
    stops = 0;
  };
  return ask;
}
