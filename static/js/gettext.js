// Texts in the page's language. The catalog is a script of its own, which pages in English do not load.
const fill = (text, values) => text.replaceAll(/%\((\w+)\)s/g, (_, name) => values[name]);

// The text in the page's language, with each %(name)s replaced by its value.
export function gettext(text, values = {}) {
  return fill(globalThis.django?.gettext?.(text) ?? text, values);
}

// The text for a number, which it names %(n)s.
export function ngettext(one, many, n, values = {}) {
  return fill(globalThis.django?.ngettext?.(one, many, n) ?? (n === 1 ? one : many), { n, ...values });
}
