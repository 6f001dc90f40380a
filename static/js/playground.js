// The playground: both answers appear as they are written; Ctrl Enter sends.
import { gettext } from "./gettext.js";
import { followAnswers } from "./judging/answer-stream.js";

const box = document.getElementById("answers");
const textOf = (side) => box.querySelector(`[data-letter="${side.toUpperCase()}"] .streaming`);

if (box?.dataset.streamUrl) {
  followAnswers({
    streamUrl: box.dataset.streamUrl,
    eventsUrl: box.dataset.eventsUrl,
    onPiece: ({ side, text }) => textOf(side)?.append(text),
    onRestart: ({ side }) => textOf(side)?.replaceChildren(),
    onEnd: () => location.reload(),
  });
} else if (box) {
  document.getElementById("announcement").textContent = gettext("Both models have answered.");
}

document.getElementById("text")?.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) event.target.form.requestSubmit();
});
