// Pages of rounds: fetch the live part again when something happens, but never replace what somebody has typed in it.
import { openLiveSocket } from "./live-socket.js";

const page = document.querySelector("[data-round-socket]");
let scheduled = false;

function refresh() {
  htmx.ajax("GET", page.dataset.liveUrl, { target: "#live", swap: "outerHTML" });
}

// decided when the answer is there: somebody may have typed since it was requested
document.addEventListener("htmx:beforeSwap", (event) => {
  const fields = [...document.querySelectorAll("#live input[type=text]")];
  if (event.detail.target.id === "live" && fields.some((field) => field.value)) event.detail.shouldSwap = false;
});

openLiveSocket(page.dataset.roundSocket, (event) => {
  if (!["round", "state", "queue"].includes(event.kind) || scheduled) return;
  // many events may come at once: one request shows them all
  scheduled = true;
  setTimeout(() => {
    scheduled = false;
    refresh();
  }, 400);
});
