// A POST whose response is the next screen.
import { csrfToken } from "../csrf.js";
import { work } from "./dom.js";

const TIMEOUT_MS = 20_000;

// Resolves to {isSaved, isRefused, isSignedOut, isRemoved, status, page, toasts}; `page` is the response's #work, or null. Where
// somebody else has signed in meanwhile, the user of this page counts as signed out.
export async function post(url, body) {
  body.delete("csrfmiddlewaretoken"); // the header has the newest one
  const response = await fetch(url, {
    method: "POST",
    body,
    headers: { "HX-Request": "true", "X-CSRFToken": csrfToken() },
    keepalive: String(body).length < 60_000, // it arrives even if the tab is closed at once
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  const isRedirected = new URL(response.url).pathname !== new URL(url, location).pathname; // to the sign-in page
  const parsed = new DOMParser().parseFromString(isRedirected ? "" : await response.text(), "text/html");
  const page = parsed.getElementById("work");
  const isOtherUser = Boolean(page) && page.dataset.user !== work().dataset.user;
  const isOurs = !isRedirected && !isOtherUser;
  return {
    // something of ours is in it: whatever stands before the site may answer in its place
    isSaved: isOurs && response.ok && (page !== null || parsed.getElementById("nothing") !== null),
    isRefused: isOurs && response.status === 422,
    isSignedOut: !isOurs || response.status === 403,
    isRemoved: !isRedirected && response.status === 404,
    status: response.status,
    page: page && isOurs ? document.adoptNode(page) : null,
    toasts: [...parsed.querySelectorAll(".toast")],
  };
}
