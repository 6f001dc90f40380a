// The playground: both answers appear as they are written; Ctrl Enter sends.
import { gettext } from "./gettext.js";
import { followAnswers } from "./judging/answer-stream.js";

const box = document.getElementById("answers");
const shown = {}; // how many characters of each side
const textOf = (side) => box.querySelector(`[data-letter="${side.toUpperCase()}"] .streaming`);

if (box?.dataset.streamUrl) {
  followAnswers({
    streamUrl: box.dataset.streamUrl,
    eventsUrl: box.dataset.eventsUrl,
    onPiece: ({ side, offset, text }) => {
      if (offset < (shown[side] ?? 0)) return; // both ways brought it
      textOf(side)?.append(text);
      shown[side] = offset + [...text].length;
    },
    onRestart: ({ side }) => {
      shown[side] = 0;
      textOf(side)?.replaceChildren();
    },
    onEnd: () => location.reload(),
  });
} else if (box) {
  document.getElementById("announcement").textContent = gettext("Both models have answered.");
}

document.getElementById("text")?.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) event.target.form.requestSubmit();
});
