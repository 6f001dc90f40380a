// The Rank screen. The radio buttons hold the ranks; the strip of letters shows the order that they make.
import { announce, answers, currentAnswer, goTo, judgeForm, letterOf, setCurrentAnswer, work } from "./dom.js";
import { gettext, ngettext } from "../gettext.js";
import { saveDraftSoon } from "./drafts.js";
import * as ratings from "./ratings.js";
import { commandOf, digitOf } from "./shortcuts.js";

const indices = () => answers().map((_, i) => i);
const radios = (i) => [...answers()[i].querySelectorAll(".answer-head input[type=radio]")];
const rankOf = (i) => Number(radios(i).find((radio) => radio.checked)?.value ?? 0); // 0: none yet
const ranks = () => indices().map(rankOf);
const unranked = () => indices().filter((i) => !rankOf(i));
const letter = (i) => letterOf(answers()[i]);
const currentIndex = () => answers().indexOf(currentAnswer());

// indices from best to worst, ties together
function levels() {
  const used = [...new Set(ranks().filter(Boolean))].toSorted((a, b) => a - b);
  return used.map((rank) => indices().filter((i) => rankOf(i) === rank));
}

const listOf = (letters) => letters.reduce((some, last) => gettext("%(some)s and %(last)s", { some, last }));

export function summary() {
  const names = levels().map((level) => (level.length > 1 ? gettext("%(letters)s tied", { letters: listOf(level.map(letter)) }) : letter(level[0])));
  const missing = unranked().map(letter).join(", ");
  const order = names.length ? names.reduce((better, worse) => gettext("%(better)s, then %(worse)s", { better, worse })) : "";
  const ordered = order && gettext("Order: %(order)s.", { order });
  return `${ordered} ${missing ? gettext("Not ranked: %(missing)s.", { missing }) : gettext("All are ranked.")}`.trim();
}

// --- changing -------------------------------------------------------------------------------------------------

function setRanks(next, describe = summary) {
  next.forEach((rank, i) => radios(i).forEach((radio) => (radio.checked = Number(radio.value) === rank)));
  if (ratings.recordChange()) showChange(describe);
}

function showChange(describe) {
  ratings.show();
  show();
  announce(describe());
  saveDraftSoon();
}

function describeRank(i) {
  const tied = indices().filter((j) => j !== i && rankOf(j) && rankOf(j) === rankOf(i)).map(letter);
  const values = { letter: letter(i), rank: rankOf(i), tied: tied.length ? listOf(tied) : "" };
  const left = unranked().length;
  let text = gettext("Answer %(letter)s: no rank.", values);
  if (values.tied) text = gettext("Answer %(letter)s: rank %(rank)s, tied with %(tied)s.", values);
  else if (values.rank) text = gettext("Answer %(letter)s: rank %(rank)s.", values);
  return `${text} ${left ? ngettext("%(n)s left.", "%(n)s left.", left) : summary()}`;
}

function setRank(i, rank) {
  const next = ranks();
  next[i] = rank;
  setRanks(next, () => describeRank(i));
}

function setLevels(order) {
  const next = ranks().fill(0);
  order.filter((level) => level.length).forEach((level, place) => level.forEach((i) => (next[i] = place + 1)));
  setRanks(next);
}

// Past the neighbour: out of a tie first, then past the whole next level.
function move(i, step) {
  const order = levels();
  const at = order.findIndex((level) => level.includes(i));
  if (order[at].length > 1) {
    order[at] = order[at].filter((j) => j !== i);
    order.splice(step < 0 ? at : at + 1, 0, [i]);
  } else if (order[at + step]) {
    [order[at], order[at + step]] = [order[at + step], order[at]];
  }
  setLevels(order);
}

function tieWithAbove(i) {
  const order = levels();
  const at = order.findIndex((level) => level.includes(i));
  if (at < 1) return;
  order[at] = order[at].filter((j) => j !== i);
  order[at - 1].push(i);
  setLevels(order);
}

// the whole level of i joins the level above it
function tieLevels(i) {
  const order = levels();
  const at = order.findIndex((level) => level.includes(i));
  order[at - 1].push(...order[at]);
  order.splice(at, 1);
  setLevels(order);
}

// --- showing --------------------------------------------------------------------------------------------------

export function show() {
  answers().forEach((answer, i) => answer.classList.toggle("is-ranked", Boolean(rankOf(i))));
  const chips = levels().flatMap((level, place) => level.map((i, n) => chip(i, n ? "=" : place ? ">" : "")));
  document.getElementById("ranked").replaceChildren(...chips);
  document.getElementById("unranked").replaceChildren(...unranked().map((i) => chip(i, "")));
  document.getElementById("submit").setAttribute("aria-disabled", String(unranked().length > 0));
}

function chip(i, sign) {
  const item = document.createElement("li");
  item.className = "chip";
  item.dataset.i = i;
  if (sign) {
    const toggle = document.createElement("button");
    toggle.type = "button";
    toggle.className = "sign";
    toggle.tabIndex = -1; // on the keyboard this is the command to tie
    toggle.textContent = sign;
    toggle.title = sign === "=" ? gettext("Tied. Press to put it behind.") : gettext("Press to make it a tie.");
    item.append(toggle);
  }
  const name = document.createElement("span");
  name.textContent = letter(i);
  item.append(name);
  return item;
}

function goToNextUnranked(i) {
  const missing = unranked();
  const next = missing.find((j) => j > i) ?? missing[0];
  goTo(answers()[next ?? i]);
}

// --- dragging -------------------------------------------------------------------------------------------------

// The library is loaded when a pointer first moves on a ranking: who works by keys alone needs none of it.
let isRequested = false;

function loadLibrary() {
  const source = work().querySelector(".order")?.dataset.sortable;
  if (isRequested || !source) return;
  isRequested = true;
  const script = document.createElement("script");
  script.src = source;
  script.addEventListener("load", () => makeDraggable(work()));
  document.head.append(script);
}

for (const name of ["pointermove", "pointerdown"]) document.addEventListener(name, loadLibrary, { passive: true, capture: true });

const draggable = new WeakSet(); // a #work that comes back has its strips already

function makeDraggable(page) {
  if (!globalThis.Sortable || draggable.has(page)) return;
  draggable.add(page);
  for (const strip of page.querySelectorAll(".chips")) {
    new Sortable(strip, {
      group: "ranks", draggable: ".chip", filter: ".sign", preventOnFilter: false,
      forceFallback: true, fallbackOnBody: true, fallbackTolerance: 4, animation: 0,
      onEnd: ({ item }) => handleDrop(Number(item.dataset.i)),
    });
  }
}

// Between two that are tied it joins the tie; anywhere else it gets a level of its own.
function handleDrop(i) {
  const order = [...document.querySelectorAll("#ranked .chip")].map((item) => Number(item.dataset.i));
  const at = order.indexOf(i);
  const before = ranks();
  if (at < 0) return redrawAfter(() => setRank(i, 0));
  const rank = (j) => (j === undefined ? 0 : before[j]);
  const joins = rank(order[at - 1]) && rank(order[at - 1]) === rank(order[at + 1]);
  const next = [];
  order.forEach((j, n) => {
    const left = order[n - 1];
    const tied = n > 0 && (j === i || left === i ? joins : rank(left) === rank(j));
    if (tied) next.at(-1).push(j);
    else next.push([j]);
  });
  return redrawAfter(() => setLevels(next));
}

// a drop that changes no rank has still moved the letters on the page
function redrawAfter(change) {
  change();
  show();
}

// --- events ---------------------------------------------------------------------------------------------------

export function handleKey(event) {
  const i = currentIndex();
  const rank = digitOf(event);
  if (rank !== null) {
    if (rank > answers().length) return false;
    setRank(i, rank);
    if (rank) goToNextUnranked(i);
    return true;
  }
  if (commandOf(event) === "tie" && rankOf(i)) tieWithAbove(i);
  else if (event.key === "ArrowUp" || event.key === "ArrowDown") return arrowKey(event);
  else if (event.key === "Enter") return enterKey(event);
  else return false;
  return true;
}

function arrowKey(event) {
  const i = currentIndex();
  if (!event.target.matches(".answer, .answer-head, .answer-head *") || !rankOf(i)) return false;
  move(i, event.key === "ArrowUp" ? -1 : 1);
  return true;
}

function enterKey(event) {
  if (event.target.closest("button, a, summary") || event.repeat) return false;
  judgeForm().requestSubmit(document.getElementById("submit"));
  return true;
}

document.addEventListener("change", (event) => {
  const head = work().dataset.kind === "rank" && event.target.closest(".answer-head");
  if (head) showChange(() => describeRank(answers().indexOf(head.closest(".answer"))));
});

document.addEventListener("click", (event) => {
  const item = event.target.closest("#work .chip");
  if (!item) return;
  const i = Number(item.dataset.i);
  const sign = event.target.closest(".sign")?.textContent;
  if (sign === "=") move(i, 1);
  else if (sign) tieLevels(i);
  else goTo(answers()[i]);
});

// Nothing is sent before every answer has a rank; the server says the same to a page without scripts.
export function findProblem() {
  const missing = unranked();
  if (!missing.length) return ratings.findProblem() ?? (prefersUnsafe() ? { isForServer: true } : null);
  return { text: gettext("Still to rank: %(missing)s.", { missing: missing.map(letter).join(", ") }), element: answers()[missing[0]] };
}

// The server refuses to rank an unsafe answer above a safe one, and offers to send the item to a reviewer.
function prefersUnsafe() {
  const isSafe = (i) => answers()[i].querySelector('input[value="safe"]')?.checked;
  return indices().some((i) => answers()[i].classList.contains("is-unsafe") && indices().some((j) => isSafe(j) && rankOf(i) < rankOf(j)));
}

// The order as the strip has it.
export const choice = () => document.getElementById("ranked").textContent.replaceAll(/[>=]/g, " $& ");

export function start() {
  const page = work();
  ratings.start();
  if (!currentAnswer().classList.contains("is-current")) setCurrentAnswer(answers()[unranked()[0] ?? 0]);
  show();
  makeDraggable(page);
}
