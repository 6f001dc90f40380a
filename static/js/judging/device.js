// What is kept on this device until the server has it: drafts, by item, and submits that did not arrive.
import { judgeForm, work } from "./dom.js";

const MAX_AGE_MS = 7 * 24 * 3_600_000;
const MAX_ANSWER_MS = 30_000;
const NOT_ENTERED = new Set(["ticket", "key", "csrfmiddlewaretoken", "showing"]);

const prefix = (kind) => `${kind}:${work()?.dataset.user}:`;
const keyOf = (kind, item) => prefix(kind) + item;

// a full or forbidden storage must not stop the work: what does not fit is on the page alone
export const storage = (() => {
  try {
    return localStorage;
  } catch {
    return null;
  }
})();

// False where it could not be stored.
function write(key, value) {
  try {
    storage?.setItem(key, JSON.stringify({ at: Date.now(), ...value }));
    return storage !== null;
  } catch {
    return false; // full
  }
}

function read(key) {
  try {
    return JSON.parse(storage?.getItem(key) ?? null);
  } catch {
    return null;
  }
}

// --- drafts ---------------------------------------------------------------------------------------------------

const entered = () => [...new FormData(judgeForm())].filter(([name]) => !NOT_ENTERED.has(name));

export function keepDraft() {
  if (judgeForm() && work().dataset.item) write(keyOf("draft", work().dataset.item), { order: work().dataset.order, entered: entered() });
}

export const dropDraft = (item) => storage?.removeItem(keyOf("draft", item));

// Fill the form in from the draft, unless the answers stand in another order now. True if something has changed.
export function restoreDraft() {
  const draft = work().dataset.item && judgeForm() && read(keyOf("draft", work().dataset.item));
  if (!draft || draft.order !== work().dataset.order || JSON.stringify(draft.entered) === JSON.stringify(entered())) return false;
  const values = new Set(draft.entered.map(String));
  for (const input of judgeForm().querySelectorAll("input[type=radio], input[type=checkbox]")) input.checked = values.has(`${input.name},${input.value}`);
  for (const [name, value] of draft.entered) {
    const field = judgeForm().elements[name];
    if (!field || (!(field instanceof HTMLTextAreaElement) && !name.startsWith("comments-"))) continue; // a question may be gone
    field.value = value;
    field.dispatchEvent(new Event("input", { bubbles: true })); // for the preview
  }
  return true;
}

// --- submits --------------------------------------------------------------------------------------------------

export const keepSubmit = ({ item, url, body, at, seconds, hasFailed }) => write(keyOf("unsent", item), { item, url, body, at, seconds, hasFailed });
export const dropSubmit = (item) => storage?.removeItem(keyOf("unsent", item));

// The submits of this user that failed, also of earlier visits, the oldest first; and those that may not have been answered before
// their page was closed, but not what another tab is just sending. What is very old is deleted.
export function unsentSubmits() {
  const found = [];
  for (const key of Object.keys(storage ?? {})) {
    if (!/^(draft|unsent):/.test(key)) continue;
    const value = read(key);
    if (!value || Date.now() - value.at > MAX_AGE_MS) storage.removeItem(key);
    else if (key.startsWith(prefix("unsent")) && (value.hasFailed || Date.now() - value.at > MAX_ANSWER_MS)) found.push(value);
  }
  return found.toSorted((a, b) => a.at - b.at);
}
