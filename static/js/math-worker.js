// Typesets formulas away from the page, which ends this worker if it takes too long.
import "../vendor/katex/katex-0.19.1.min.js";

const MAX_LENGTH = 10_000; // of a formula
const MAX_TAGS = 5_000; // of its MathML
const MAX_DEPTH = 80;
const { katex } = self;

// MathML without inline styles, which the page's Content-Security-Policy refuses; null where it cannot be made.
function typeset(formula, isDisplay) {
  if (formula.length > MAX_LENGTH) return null;
  let html;
  try {
    html = katex.renderToString(formula, { displayMode: isDisplay, output: "mathml", trust: false, strict: "ignore", maxExpand: 1000, maxSize: 20 });
  } catch {
    return null;
  }
  const mathml = html.slice(html.indexOf("<math"), html.lastIndexOf("</math>") + "</math>".length).replaceAll(/ style="[^"]*"/g, "");
  return isSmall(mathml) ? mathml : null;
}

function isSmall(mathml) {
  let depth = 0;
  let tags = 0;
  for (const [tag] of mathml.matchAll(/<[^>]*>/g)) {
    tags += 1;
    if (tag.startsWith("</")) depth -= 1;
    else if (!tag.endsWith("/>")) depth += 1;
    if (depth > MAX_DEPTH || tags > MAX_TAGS) return false;
  }
  return true;
}

onmessage = ({ data: { formula, isDisplay } }) => {
  postMessage({ mathml: typeset(formula, isDisplay) });
};
postMessage({ ready: true });
