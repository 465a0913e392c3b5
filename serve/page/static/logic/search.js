// Find and replace in paragraphs.

import { replaceRange } from "./transcript.js";

/** Return the places of a text, without regard to case unless it is to count, as {paragraph, from, to}. */
export function findAll(paragraphs, query, { isCaseSensitive = false } = {}) {
  if (!query.trim()) return [];
  const pattern = new RegExp(query.replace(/[.*+?^${}()|[\]\\/-]/g, "\\$&"), isCaseSensitive ? "gu" : "giu");
  return paragraphs.flatMap(({ text }, paragraph) =>
    [...text.matchAll(pattern)].map((match) => ({ paragraph, from: match.index, to: match.index + match[0].length })));
}

/** Return the paragraphs with all places replaced. */
export function replaceAll(paragraphs, places, replacement) {
  const replaced = [...paragraphs];
  for (const { paragraph, from, to } of places.toReversed()) {
    replaced[paragraph] = replaceRange(replaced[paragraph], from, to, replacement);
  }
  return replaced;
}

/** Return the index of the first place at or after another, or 0; -1 without places. */
export function firstAfter(places, { paragraph, from }) {
  const found = places.findIndex((place) =>
    place.paragraph > paragraph || (place.paragraph === paragraph && place.from >= from));
  return found < 0 ? Math.min(0, places.length - 1) : found;
}
