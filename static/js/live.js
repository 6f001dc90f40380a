// A WebSocket that comes back: after a break it tries again, soon at first, then at most every 15 seconds.
// The server tells everything anew on each connection, so nothing needs to be remembered here.
"use strict";

const REFUSED = 4403; // not allowed, or not any more: trying again is of no use

function live(path, onMessage) {
  let pause = 500;
  let connected = null;

  function show() {
    if (connected === null) return;
    for (const dot of document.querySelectorAll("[data-live-status]")) {
      dot.hidden = false;
      dot.dataset.state = connected ? "on" : "off";
      dot.textContent = connected ? "Live" : "Connecting…";
    }
  }

  function connect() {
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${path}`);
    socket.onopen = () => {
      pause = 500;
      connected = true;
      show();
    };
    socket.onmessage = (message) => onMessage(JSON.parse(message.data));
    socket.onclose = (event) => {
      connected = false;
      show();
      if (event.code === REFUSED) return;
      setTimeout(connect, pause * (0.75 + Math.random() / 2));
      pause = Math.min(pause * 2, 15000);
    };
  }

  document.addEventListener("htmx:load", show); // a part that was fetched anew brings a dot of its own
  connect();
}
