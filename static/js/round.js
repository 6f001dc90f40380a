// The loop's pages: what changed is fetched anew when something happens, unless somebody is writing.
"use strict";

const roundPage = document.querySelector("[data-round-socket]");
let roundDue = false;

function fetchRound() {
  const writing = document.activeElement?.closest("#live form");
  if (writing && document.activeElement.value) return;
  htmx.ajax("GET", roundPage.dataset.liveUrl, { target: "#live", swap: "outerHTML" });
}

live(roundPage.dataset.roundSocket, (event) => {
  if (!["round", "state", "queue"].includes(event.kind) || roundDue) return;
  // many events may come at once: one look shows them all
  roundDue = true;
  setTimeout(() => {
    roundDue = false;
    fetchRound();
  }, 400);
});
