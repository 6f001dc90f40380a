// The guidelines beside the work: on wide screens they are pinned unless somebody chose otherwise on this device.
import { storage } from "./device.js";
import { judgeForm } from "./dom.js";

const STORED = "palate-guidelines";
const wide = matchMedia("(min-width: 100rem)");
const aside = document.getElementById("pinned-guidelines");
const text = aside.querySelector(".pinned-text");

export const isPinned = () => !aside.hidden && wide.matches;

export function pinIfWide() {
  aside.hidden = !wide.matches || !judgeForm() || storage?.getItem(STORED) === "hidden";
  if (!aside.hidden && !text.textContent.trim()) htmx.ajax("GET", aside.dataset.url, { target: text, swap: "innerHTML" });
}

function choose(isWanted) {
  storage?.setItem(STORED, isWanted ? "pinned" : "hidden");
  pinIfWide();
}

aside.querySelector("[data-unpin]").addEventListener("click", () => {
  choose(false);
  document.getElementById("open-guidelines")?.focus();
});
document.querySelector("#guidelines [data-pin]").addEventListener("click", () => {
  document.getElementById("guidelines").close();
  choose(true);
  text.focus();
});
wide.addEventListener("change", pinIfWide);
