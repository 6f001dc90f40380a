// Which screen is shown: that of #work's kind. A screen is a module with start(), handleKey(event), findProblem(submitter)
// and, where it shows more than the form's own controls, show() and summary().
import { work } from "./dom.js";
import { gettext } from "../gettext.js";
import { showToast } from "../toasts.js";
import { restoreDraft } from "./device.js";
import { watchLength } from "./long-texts.js";
import { showView, watchActionBar } from "./view.js";

let screens = {};
let shownAt = 0;

export function registerScreens(byKind) {
  screens = byKind;
}

export const currentScreen = () => screens[work().dataset.kind];
export const msSinceShown = () => performance.now() - shownAt;

export function startScreen() {
  const { kind } = work().dataset;
  shownAt = performance.now();
  if (restoreDraft()) showToast(gettext("What you entered before on this device is back."), "ok");
  currentScreen()?.start();
  work().dispatchEvent(new CustomEvent("judging:shown", { bubbles: true }));
  showView();
  watchActionBar();
  for (const line of document.querySelectorAll("#keys [data-for]")) line.hidden = !line.dataset.for.split(" ").includes(kind);
  work().querySelectorAll(".clamp").forEach(watchLength);
  for (const code of work().querySelectorAll("pre")) if (code.scrollWidth > code.clientWidth) code.tabIndex = 0;
}
