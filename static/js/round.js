// Pages of rounds: fetch the live part again when something happens, unless somebody is typing in it.
import { openLiveSocket } from "./live-socket.js";

const page = document.querySelector("[data-round-socket]");
let scheduled = false;

function refresh() {
  const writing = document.activeElement?.closest("#live form");
  if (writing && document.activeElement.value) return;
  htmx.ajax("GET", page.dataset.liveUrl, { target: "#live", swap: "outerHTML" });
}

openLiveSocket(page.dataset.roundSocket, (event) => {
  if (!["round", "state", "queue"].includes(event.kind) || scheduled) return;
  // many events may come at once: one request shows them all
  scheduled = true;
  setTimeout(() => {
    scheduled = false;
    refresh();
  }, 400);
});
