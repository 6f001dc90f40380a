// Signing in again in another tab changes the token, so it is read from the cookie when it is needed.
export function csrfToken() {
  return document.cookie.match(/(?:^|; )csrftoken=([^;]+)/)?.[1] ?? "";
}
