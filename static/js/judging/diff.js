// Two texts side by side, with the words that only one of them has marked.
import { answerByLetter, answers, currentAnswer, letterOf } from "./dom.js";

const MOST = 2500; // differing words up to which the shortest way from one text to the other is looked for

const segmenter = new Intl.Segmenter(undefined, { granularity: "word" }); // Chinese and Thai have words too

// Words and signs, each with the white space after it.
function wordsOf(text) {
  const words = [];
  for (const { segment } of segmenter.segment(text)) {
    if (words.length && !segment.trim()) words[words.length - 1] += segment;
    else words.push(segment);
  }
  return words;
}

// For each word of both texts, whether the other has it too: Myers' algorithm ("An O(ND) difference algorithm and its
// variations", 1986), after what is the same at both ends is set aside.
function compare(left, right) {
  const a = left.map((word) => word.trim());
  const b = right.map((word) => word.trim());
  let start = 0;
  while (start < Math.min(a.length, b.length) && a[start] === b[start]) start++;
  let end = 0;
  while (end < Math.min(a.length, b.length) - start && a.at(-1 - end) === b.at(-1 - end)) end++;
  const inBoth = { left: a.map((_, i) => i < start || i >= a.length - end), right: b.map((_, i) => i < start || i >= b.length - end) };
  for (const [i, j] of common(a.slice(start, a.length - end), b.slice(start, b.length - end))) {
    inBoth.left[start + i] = true;
    inBoth.right[start + j] = true;
  }
  return inBoth;
}

// The pairs of positions that a longest common subsequence joins; none where the texts differ too much.
function common(a, b) {
  const most = Math.min(a.length + b.length, MOST);
  const zero = most + 1;
  const furthest = new Int32Array(2 * most + 3); // by diagonal: how far one gets with so many steps
  const trace = []; // and with fewer
  for (let steps = 0; steps <= most; steps++) {
    trace.push(furthest.slice(zero - steps - 1, zero + steps + 2));
    for (let k = -steps; k <= steps; k += 2) {
      const down = k === -steps || (k !== steps && furthest[zero + k - 1] < furthest[zero + k + 1]);
      let x = down ? furthest[zero + k + 1] : furthest[zero + k - 1] + 1;
      while (x < a.length && x - k < b.length && a[x] === b[x - k]) x++;
      furthest[zero + k] = x;
      if (x >= a.length && x - k >= b.length) return wayBack(trace, x, x - k);
    }
  }
  return [];
}

function wayBack(trace, x, y) {
  const pairs = [];
  for (let steps = trace.length - 1; steps >= 0; steps--) {
    const before = (k) => trace[steps][steps + 1 + k];
    const k = x - y;
    const down = k === -steps || (k !== steps && before(k - 1) < before(k + 1));
    const fromX = before(down ? k + 1 : k - 1);
    const fromY = fromX - (down ? k + 1 : k - 1);
    while (x > fromX && y > fromY) pairs.push([--x, --y]);
    [x, y] = [fromX, fromY];
  }
  return pairs;
}

// --- showing ----------------------------------------------------------------------------------------------

function write(box, words, inBoth, tag, label) {
  const parts = [];
  for (let i = 0; i < words.length; ) {
    const from = i;
    while (i < words.length && inBoth[i] === inBoth[from]) i++;
    const text = words.slice(from, i).join("");
    parts.push(inBoth[from] ? text : marked(tag, label, text));
  }
  box.replaceChildren(...parts);
}

function marked(tag, label, text) {
  const element = document.createElement(tag);
  const before = document.createElement("span");
  before.className = "visually-hidden";
  before.textContent = ` [${label}: `;
  const after = document.createElement("span");
  after.className = "visually-hidden";
  after.textContent = "] ";
  const end = text.match(/\s*$/)[0];
  element.append(before, text.slice(0, text.length - end.length), after, end);
  return element;
}

export function open(leftName, left, rightName, right) {
  const words = { left: wordsOf(left), right: wordsOf(right) };
  const inBoth = compare(words.left, words.right);
  const shared = inBoth.left.filter(Boolean).length + inBoth.right.filter(Boolean).length;
  const percent = Math.round((100 * shared) / Math.max(1, words.left.length + words.right.length));
  const capital = (text) => text[0].toUpperCase() + text.slice(1);
  document.getElementById("diff-title").textContent = `${percent}% of the words are the same`;
  document.getElementById("diff-left-title").textContent = capital(leftName);
  document.getElementById("diff-right-title").textContent = capital(rightName);
  write(document.getElementById("diff-left"), words.left, inBoth.left, "del", `only in ${leftName}`);
  write(document.getElementById("diff-right"), words.right, inBoth.right, "ins", `only in ${rightName}`);
  const dialog = document.getElementById("diff");
  if (!dialog.open) {
    document.getElementById("diff-choice").replaceChildren();
    dialog.showModal();
  }
}

// --- of two answers ---------------------------------------------------------------------------------------

let subject = null; // the answer on the left

const textOf = (answer) => answer.querySelector(".prose").innerText;

export function openForAnswer(answer, other = answers()[(answers().indexOf(answer) + 1) % answers().length]) {
  subject = answer;
  open(`answer ${letterOf(answer)}`, textOf(answer), `answer ${letterOf(other)}`, textOf(other));
  const buttons = answers().filter((candidate) => candidate !== answer).map((candidate) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button small";
    button.textContent = letterOf(candidate);
    button.setAttribute("aria-label", `Answer ${letterOf(candidate)}`);
    button.setAttribute("aria-pressed", String(candidate === other));
    return button;
  });
  document.getElementById("diff-choice").replaceChildren(...(buttons.length > 1 ? buttons : []));
}

// another letter, another answer on the right
export function handleKey(event) {
  const other = subject && answerByLetter(event.key);
  if (other && other !== subject) openForAnswer(subject, other);
  else if (event.key.toLowerCase() === "d") document.getElementById("diff").close();
  else return false;
  return true;
}

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-open-diff]")) openForAnswer(currentAnswer());
  const button = event.target.closest("#diff-choice button");
  if (!button) return;
  openForAnswer(subject, answerByLetter(button.textContent));
  [...document.querySelectorAll("#diff-choice button")].find((choice) => choice.ariaPressed === "true")?.focus();
});
