// The menu View, which sets layout and text size at once and stores them on the account; and the layout that shows one answer
// at a time. Both are classes of the main element, since #work is replaced with each item.
import { gettext } from "../gettext.js";
import { showToast } from "../toasts.js";
import { announce, answers, currentAnswer, goTo, letterOf, work } from "./dom.js";
import { post } from "./request.js";

const MIN_SWIPE_PX = 60;
const GAP_PX = 8; // between the toasts and what the bar has below them
const main = document.getElementById("main");
const PREFIXES = { judging_layout: "layout-", judging_text_size: "text-" };

const valueOf = (name) => [...main.classList].find((one) => one.startsWith(PREFIXES[name])).slice(PREFIXES[name].length);
const isSingle = () => valueOf("judging_layout") === "single";
const menu = () => document.getElementById("view");

// The menu of a page that was loaded ahead may be older than the choice.
export function showView() {
  for (const name of Object.keys(PREFIXES)) {
    for (const input of menu()?.querySelectorAll(`input[name=${name}]`) ?? []) input.checked = input.value === valueOf(name);
  }
}

export function toggleMenu() {
  if (!menu()) return false;
  menu().open = !menu().open;
  if (menu().open) menu().querySelector("input:checked").focus();
  else menu().querySelector("summary").focus();
  return true;
}

async function store(form) {
  try {
    const response = await post(form.getAttribute("action"), new URLSearchParams(new FormData(form)));
    if (!response.isSaved) throw new Error(String(response.status));
  } catch {
    showToast(gettext("The layout and the text size could not be saved. They apply until you reload the page."), "warn");
  }
}

document.addEventListener("change", (event) => {
  const { form, name, value } = event.target;
  if (!form?.closest("#view")) return;
  main.classList.replace(PREFIXES[name] + valueOf(name), PREFIXES[name] + value);
  if (answers().length) currentAnswer().scrollIntoView({ block: "nearest" });
  store(form);
});

// Without scripts a button applies the choice; with them Enter only closes the menu.
document.addEventListener("submit", (event) => {
  if (!event.target.closest("#view")) return;
  event.preventDefault();
  toggleMenu();
});

// --- one answer at a time -----------------------------------------------------------------------------------------

function showAnswer(answer) {
  if (!answer) return;
  goTo(answer);
  const place = { letter: letterOf(answer), number: answers().indexOf(answer) + 1, total: answers().length };
  announce(gettext("Answer %(letter)s, %(number)s of %(total)s.", place));
}

const neighbour = (step) => answers()[answers().indexOf(currentAnswer()) + step];

export function handleKey(event) {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  // there the arrows have a use already
  if (!step || !isSingle() || event.target.closest("input, pre, .scroll")) return false;
  showAnswer(neighbour(step));
  return true;
}

document.addEventListener("click", (event) => {
  const button = event.target.closest(".answer-tabs button");
  if (button) showAnswer(button.dataset.show ? answers().find((answer) => letterOf(answer) === button.dataset.show) : neighbour(Number(button.dataset.step)));
});

let touch = null; // where a single finger went down

document.addEventListener("touchstart", (event) => {
  const isText = event.touches.length === 1 && event.target.closest(".answer") && !event.target.closest("pre, .scroll, input, textarea");
  touch = isText && isSingle() ? event.touches[0] : null;
}, { passive: true });
document.addEventListener("touchend", (event) => {
  if (!touch) return;
  const [dx, dy] = [event.changedTouches[0].clientX - touch.clientX, event.changedTouches[0].clientY - touch.clientY];
  touch = null;
  if (Math.abs(dx) < MIN_SWIPE_PX || Math.abs(dx) < 2 * Math.abs(dy) || String(getSelection())) return;
  showAnswer(neighbour(dx < 0 ? 1 : -1));
}, { passive: true });

// --- the bar at the bottom ------------------------------------------------------------------------------------------

// Its height, for what must not lie below it: what is scrolled into view. It has room for the toasts, which lie over nothing else.
const toasts = document.getElementById("toasts");
const setHeight = (name, px) => document.documentElement.style.setProperty(name, `${px}px`);
const actionBar = () => work().querySelector(".action-bar");

const observer = new ResizeObserver(() => {
  const bar = actionBar();
  const isSticky = Boolean(bar) && getComputedStyle(bar).position === "sticky";
  setHeight("--toasts", isSticky && toasts.offsetHeight ? toasts.offsetHeight + GAP_PX : 0);
  setHeight("--action-bar", isSticky ? bar.offsetHeight : 0);
});

export function watchActionBar() {
  observer.disconnect();
  observer.observe(toasts);
  if (actionBar()) observer.observe(actionBar());
}
