// Small helpers over the document. Text enters as text only, never as markup.

/** Create an element; attributes of value true are empty, of false or null left out; functions are listeners. */
export function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(key, value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Return the element of an id. */
export const byId = (id) => document.getElementById(id);

/** Announce a sentence to screen readers, and show it where there is room. */
export function announce(text) {
  const status = byId("status");
  status.textContent = "";
  setTimeout(() => { status.textContent = text; }, 50);
}

/** Set text only where it changed, so that nothing is announced or selected anew. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Offer text or a file for saving. */
export function download(blob, name) {
  const link = el("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** Return whether a person types into an element. */
export const isTyping = (target) =>
  target.isContentEditable || /^(?:input|textarea|select)$/i.test(target.tagName);

/** Return how to scroll: without motion where the user wants none. */
export const scrollBehavior = () =>
  (matchMedia("(prefers-reduced-motion: reduce)").matches ? "instant" : "smooth");
