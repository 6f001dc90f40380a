// A WebSocket that reconnects: soon at first, then at most every 15 seconds. The server sends the whole state on each
// connection, so nothing needs to be remembered here.

import { gettext } from "./gettext.js";

const FORBIDDEN = 4403; // not allowed, or not any more: do not reconnect

export function openLiveSocket(path, onMessage) {
  let pause = 500;
  let connected = null;

  function showStatus() {
    if (connected === null) return;
    for (const dot of document.querySelectorAll("[data-live-status]")) {
      dot.hidden = false;
      dot.dataset.state = connected ? "on" : "off";
      dot.textContent = connected ? gettext("Live") : gettext("Connecting…");
    }
  }

  function connect() {
    const language = document.documentElement.lang; // of the sentences that come
    const socket = new WebSocket(
      `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${path}?language=${language}`,
    );
    socket.addEventListener("open", () => {
      pause = 500;
      connected = true;
      showStatus();
    });
    socket.addEventListener("message", (event) => onMessage(JSON.parse(event.data)));
    socket.addEventListener("close", (event) => {
      connected = false;
      showStatus();
      if (event.code === FORBIDDEN) return;
      setTimeout(connect, pause * (0.75 + Math.random() / 2));
      pause = Math.min(pause * 2, 15000);
    });
  }

  document.addEventListener("htmx:load", showStatus); // a swapped part brings a dot of its own
  connect();
}
