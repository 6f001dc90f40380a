// Why something is not saved yet, in the bar above the buttons. A reason: {text(n), retries, isSignedOut}, for work on n items.
import { ngettext } from "../gettext.js";

export const OFFLINE = {
  retries: true,
  text: (n) => ngettext(
    "Offline. Your work on %(n)s item is kept on this device, and sent later by itself.",
    "Offline. Your work on %(n)s items is kept on this device, and sent later by itself.",
    n,
  ),
};
const SIGNED_OUT = {
  isSignedOut: true,
  text: (n) => ngettext(
    "You are signed out, and your work on %(n)s item is not saved yet. Sign in in another tab, then try again here.",
    "You are signed out, and your work on %(n)s items is not saved yet. Sign in in another tab, then try again here.",
    n,
  ),
};
const REMOVED = {
  text: (n) => ngettext(
    "You are no longer a member of this project, or it is closed: your work on %(n)s item is not saved. It is kept on this device; if a lead adds you back, try again.",
    "You are no longer a member of this project, or it is closed: your work on %(n)s items is not saved. It is kept on this device; if a lead adds you back, try again.",
    n,
  ),
};
const serverError = (status) => ({
  retries: true,
  text: (n) => ngettext(
    "The server could not save your work on %(n)s item (error %(status)s). It is kept on this device, and sent again by itself.",
    "The server could not save your work on %(n)s items (error %(status)s). It is kept on this device, and sent again by itself.",
    n,
    { status },
  ),
});

const ONLY_HERE = (n) => ngettext(
  "Not saved yet: your work on %(n)s item is on this page alone, since this device stores nothing. Keep it open.",
  "Not saved yet: your work on %(n)s items is on this page alone, since this device stores nothing. Keep it open.",
  n,
);

// Of a response that saved nothing; null: there was none.
export function reasonOf(response) {
  if (!response) return OFFLINE;
  if (response.isSignedOut) return SIGNED_OUT;
  return response.isRemoved ? REMOVED : serverError(response.status);
}

// `reason` null: everything is saved; `isOnlyHere`: the device stores nothing.
export function showFailure(reason, n, isOnlyHere) {
  const bar = document.getElementById("not-saved");
  if (!bar) return;
  const isNew = bar.hidden;
  bar.hidden = !reason;
  if (!reason) return;
  bar.classList.toggle("warn", Boolean(reason.retries) && !isOnlyHere); // nothing is to be done
  bar.classList.toggle("danger", !reason.retries || isOnlyHere);
  bar.querySelector("span").textContent = isOnlyHere ? ONLY_HERE(n) : reason.text(n);
  bar.querySelector("a").hidden = !reason.isSignedOut;
  if (isNew) bar.scrollIntoView({ block: "nearest" }); // at 200% zoom it is below the screen
}
