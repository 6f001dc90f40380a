// Typesets the formulas in rendered Markdown as MathML. What cannot be typeset, or not in time, stays as it was written.
import { showSources } from "./formula-sources.js";
import { gettext } from "./gettext.js";
import { timedWorker } from "./timed-worker.js";

const BUDGET_MS = 300;
const MAX_ELEMENTS = 60_000; // of all formulas of a page
const MATHML = "http://www.w3.org/1998/Math/MathML";
const FORMULA = "code.math:not([data-math], :has(.invisible))";
const DELIMITERS = /^(?:\$\$([^]*)\$\$|\$([^]*)\$|\\\(([^]*)\\\)|\\\[([^]*)\\\])$/;
const ask = timedWorker(document.querySelector("script[data-math-worker]").dataset.mathWorker, BUDGET_MS);
let isBusy = false;
let elements = 0;

// The MathML as an element; null if there is anything else in it.
function parse(mathml) {
  const template = document.createElement("template");
  template.innerHTML = mathml;
  const all = [...template.content.querySelectorAll("*")];
  elements += all.length;
  const isMath = all.every((element) => element.namespaceURI === MATHML && !element.matches("[href], annotation-xml"));
  return isMath && elements <= MAX_ELEMENTS ? template.content.firstElementChild : null;
}

async function typeset(code) {
  const source = code.textContent;
  const formula = source.match(DELIMITERS)?.slice(1).find((part) => part !== undefined) ?? source;
  const answer = elements < MAX_ELEMENTS ? await ask({ formula, isDisplay: code.matches(".display") }) : null;
  const math = answer?.mathml ? parse(answer.mathml) : null;
  if (!math) {
    code.dataset.math = "plain";
    code.title = gettext("This formula cannot be typeset: it is shown as it was written.");
    return;
  }
  const box = document.createElement("span");
  box.className = code.className;
  box.dataset.source = source;
  box.append(math);
  code.replaceWith(box);
}

async function typesetAll() {
  if (isBusy) return;
  isBusy = true;
  let codes = [...document.querySelectorAll(FORMULA)];
  while (codes.length) {
    for (const code of codes) {
      code.dataset.math = "pending";
      await typeset(code);
    }
    for (const box of document.querySelectorAll("span.math:not([tabindex])")) if (box.scrollWidth > box.clientWidth && box.clientWidth) box.tabIndex = 0;
    codes = [...document.querySelectorAll(FORMULA)];
  }
  isBusy = false;
}

// Copied formulas are their source.
document.addEventListener("copy", (event) => {
  const selection = document.getSelection();
  if (!selection.rangeCount || event.target.closest?.("input, textarea")) return;
  const range = selection.getRangeAt(0);
  const around = range.commonAncestorContainer.parentElement?.closest(".math");
  if (around?.dataset.source) range.selectNode(around);
  const copied = document.createElement("div");
  copied.append(range.cloneContents());
  if (!copied.querySelector("[data-source]")) return;
  showSources(copied);
  // its text has line breaks where it is laid out
  copied.className = "copied";
  document.body.append(copied);
  event.clipboardData.setData("text/plain", copied.innerText);
  event.clipboardData.setData("text/html", copied.innerHTML);
  copied.remove();
  event.preventDefault();
});

// the bounds are those of one screen: the judging screens show many, one after the other
document.addEventListener("judging:shown", () => {
  elements = 0;
  ask.reset();
});
new MutationObserver(typesetAll).observe(document.body, { childList: true, subtree: true });
typesetAll();
