// Which words two texts have in common: Myers' algorithm ("An O(ND) difference algorithm and its variations", 1986).

const MAX_EDITS = 2500; // beyond it the texts are taken to have nothing more in common, so that the page never freezes

const segmenter = new Intl.Segmenter(undefined, { granularity: "word" }); // Chinese and Thai have words too

// Words and punctuation, each with the white space after it.
export function splitWords(text) {
  const words = [];
  for (const { segment } of segmenter.segment(text)) {
    if (words.length && !segment.trim()) words[words.length - 1] += segment;
    else words.push(segment);
  }
  return words;
}

// For each word of both texts, whether the other has it too. What is the same at both ends is set aside first.
export function compareWords(left, right) {
  const a = left.map((word) => word.trim());
  const b = right.map((word) => word.trim());
  let start = 0;
  while (start < Math.min(a.length, b.length) && a[start] === b[start]) start++;
  let end = 0;
  while (end < Math.min(a.length, b.length) - start && a.at(-1 - end) === b.at(-1 - end)) end++;
  const inBoth = { left: a.map((_, i) => i < start || i >= a.length - end), right: b.map((_, i) => i < start || i >= b.length - end) };
  for (const [i, j] of commonSubsequence(a.slice(start, a.length - end), b.slice(start, b.length - end))) {
    inBoth.left[start + i] = true;
    inBoth.right[start + j] = true;
  }
  return inBoth;
}

// The pairs of positions in a longest common subsequence; none where it takes more than MAX_EDITS.
function commonSubsequence(a, b) {
  const maxEdits = Math.min(a.length + b.length, MAX_EDITS);
  const zero = maxEdits + 1;
  const furthest = new Int32Array(2 * maxEdits + 3); // by diagonal: the furthest position reached with so many edits
  const trace = []; // the same for each smaller number of edits
  for (let edits = 0; edits <= maxEdits; edits++) {
    trace.push(furthest.slice(zero - edits - 1, zero + edits + 2));
    for (let k = -edits; k <= edits; k += 2) {
      const down = k === -edits || (k !== edits && furthest[zero + k - 1] < furthest[zero + k + 1]);
      let x = down ? furthest[zero + k + 1] : furthest[zero + k - 1] + 1;
      while (x < a.length && x - k < b.length && a[x] === b[x - k]) x++;
      furthest[zero + k] = x;
      if (x >= a.length && x - k >= b.length) return backtrack(trace, x, x - k);
    }
  }
  return [];
}

function backtrack(trace, x, y) {
  const pairs = [];
  for (let edits = trace.length - 1; edits >= 0; edits--) {
    const before = (k) => trace[edits][edits + 1 + k];
    const k = x - y;
    const down = k === -edits || (k !== edits && before(k - 1) < before(k + 1));
    const fromX = before(down ? k + 1 : k - 1);
    const fromY = fromX - (down ? k + 1 : k - 1);
    while (x > fromX && y > fromY) pairs.push([--x, --y]);
    [x, y] = [fromX, fromY];
  }
  return pairs;
}

// Writes the words of a text into a box; those that are not in both are elements of this tag, announced by the label.
export function writeWords(box, words, inBoth, tag, label) {
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
