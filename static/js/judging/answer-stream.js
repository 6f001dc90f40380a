// The two answers of a message while they are written: by server-sent events or, where none come through, by asking again and again.

const SILENT_MS = 8_000; // without an event for so long after the start, a proxy may hold them back
const ASK_EVERY_MS = 1_000;

// Calls onPiece({side, offset, text}) and onRestart({side}), and once onEnd(). Returns a function that stops it.
export function followAnswers({ streamUrl, eventsUrl, onPiece, onRestart, onEnd }) {
  let last = "";
  let isOver = false;
  let timer = 0;
  const source = new EventSource(streamUrl);

  function handle(name, data, id) {
    if (isOver) return;
    if (id) last = id;
    if (name === "piece") onPiece(data);
    else if (name === "restart") onRestart(data);
    else {
      stop();
      onEnd();
    }
  }

  function stop() {
    isOver = true;
    source.close();
    clearTimeout(timer);
  }

  for (const name of ["piece", "restart", "end", "failed"]) {
    source.addEventListener(name, (event) => {
      clearTimeout(timer);
      handle(name, JSON.parse(event.data), event.lastEventId);
    });
  }
  // a refused stream is not tried again by the browser, nor one whose server is gone for long
  source.addEventListener("error", () => {
    if (!isOver && source.readyState === EventSource.CLOSED) ask();
  });
  timer = setTimeout(ask, SILENT_MS);

  async function ask() {
    clearTimeout(timer);
    if (isOver) return;
    try {
      const response = await fetch(`${eventsUrl}?after=${last}`);
      if (response.redirected || response.status === 404) return handle("end", {}, "");
      const { events, over } = await response.json();
      for (const { id, event, data } of events) handle(event, data, id);
      if (over) handle("end", {}, "");
    } catch {
      // offline, or the site restarts
    }
    if (!isOver) timer = setTimeout(ask, ASK_EVERY_MS);
  }

  return stop;
}
