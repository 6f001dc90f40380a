// A POST whose response is the next screen.
import { csrfToken } from "../csrf.js";

const TIMEOUT_MS = 20_000;

// Resolves to {isSaved, isRefused, isSignedOut, isRemoved, status, page, toasts}; `page` is the response's #work, or null.
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
  return {
    isSaved: !isRedirected && response.ok,
    isRefused: !isRedirected && response.status === 422,
    isSignedOut: isRedirected || response.status === 403,
    isRemoved: !isRedirected && response.status === 404,
    status: response.status,
    page: page && document.adoptNode(page),
    toasts: [...parsed.querySelectorAll(".toast")],
  };
}
