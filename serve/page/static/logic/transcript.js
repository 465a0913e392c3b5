// A transcript: paragraphs whose text is the truth, and words that are ranges of it. Times are seconds.
//
// Word: {from, to, start, end, probability, isEdited}; from and to are offsets into the paragraph's text,
//   probability is null where it is unknown or the word was typed.
// Paragraph: {start, end, text, words}. Transcript: {language, duration, paragraphs}.

import { endsSentence } from "./sentences.js";

const DOUBTFUL_BELOW = 0.5;
const MAX_PAUSE_S = 1.5;
const FULL_CHARS = 160; // a paragraph ends with the sentence that exceeds it
const MAX_CHARS = 400; // and here even within a sentence
const UNSPACED = /[\s\u3040-\u30ff\u3400-\u9fff]/;

/** Read the answer in the format verbose_json. */
export function readTranscript(answer) {
  return {
    language: answer.language ?? "",
    duration: Number(answer.duration) || 0,
    paragraphs: joinSegments(readSegments(answer.segments ?? [], answer.words ?? [])),
  };
}

/** Return segments with the words that their texts consist of, in order. */
export function readSegments(segments, words) {
  let next = 0;
  return segments.map((segment) => {
    const text = segment.text.trim();
    const own = [];
    let offset = 0;
    for (; next < words.length; next += 1) {
      const spoken = words[next].word.trim();
      const from = spoken ? text.indexOf(spoken, offset) : -1;
      const isElsewhere = from < 0 || isSpoken(text.slice(offset, from));
      if (isElsewhere && (!isSpoken(text.slice(offset)) || midpoint(words[next]) >= segment.end)) break;
      if (isElsewhere) continue;
      offset = from + spoken.length;
      own.push(readWord(words[next], from, offset));
    }
    return { start: segment.start, end: segment.end, text, words: own };
  }).filter((segment) => segment.text);
}

function readWord(word, from, to) {
  return { from, to, start: word.start, end: word.end, probability: word.probability ?? null, isEdited: false };
}

const isSpoken = (text) => /[\p{L}\p{N}]/u.test(text);

const midpoint = (span) => (span.start + span.end) / 2;

/** Join segments into paragraphs of a few lines; those without words stay alone, because their times would be lost. */
export function joinSegments(segments) {
  const paragraphs = [];
  for (const segment of segments) {
    const last = paragraphs.at(-1);
    if (last && isContinued(last, segment)) paragraphs[paragraphs.length - 1] = join(last, segment);
    else paragraphs.push(segment);
  }
  return paragraphs;
}

function isContinued(paragraph, segment) {
  if (!paragraph.words.length || !segment.words.length) return false;
  if (segment.start - paragraph.end > MAX_PAUSE_S) return false;
  const length = paragraph.text.length + segment.text.length;
  const isFull = length > FULL_CHARS && endsSentence(paragraph.text.split(" ").at(-1), segment.text);
  return !isFull && length <= MAX_CHARS;
}

function join(paragraph, segment) {
  const gap = UNSPACED.test(paragraph.text.at(-1)) || UNSPACED.test(segment.text[0]) ? "" : " ";
  const by = paragraph.text.length + gap.length;
  return {
    start: paragraph.start,
    end: segment.end,
    text: paragraph.text + gap + segment.text,
    words: [...paragraph.words, ...segment.words.map((word) => shift(word, by))],
  };
}

const shift = (word, by) => ({ ...word, from: word.from + by, to: word.to + by });

/** Return a paragraph with a range of its text replaced; words outside keep their times, new ones share those of the old. */
export function replaceRange(paragraph, from, to, insert) {
  const text = paragraph.text.slice(0, from) + insert + paragraph.text.slice(to);
  if (!paragraph.words.length && paragraph.text.trim()) return { ...paragraph, text };
  const joinsLeft = isJoined(text[from - 1], text[from]);
  const joinsRight = isJoined(text[from + insert.length - 1], text[from + insert.length]);
  const before = paragraph.words.filter((word) => (joinsLeft ? word.to < from : word.to <= from) && word.from < from);
  const later = paragraph.words.slice(before.length);
  const after = later.filter((word) => (joinsRight ? word.from > to : word.from >= to));
  const replaced = later.slice(0, later.length - after.length);
  const moved = after.map((word) => shift(word, insert.length - (to - from)));
  const region = [before.at(-1)?.to ?? 0, moved[0]?.from ?? text.length];
  const span = {
    start: replaced[0]?.start ?? before.at(-1)?.end ?? paragraph.start,
    end: replaced.at(-1)?.end ?? after[0]?.start ?? paragraph.end,
  };
  const old = replaced.map((word) => ({ ...word, text: paragraph.text.slice(word.from, word.to) }));
  return { ...paragraph, text, words: [...before, ...retime(tokens(text, ...region), old, span), ...moved] };
}

const isJoined = (left, right) => Boolean(left && right) && !UNSPACED.test(left) && !UNSPACED.test(right);

function tokens(text, start, end) {
  return [...text.slice(start, end).matchAll(/\S+/g)]
    .filter(([token]) => isSpoken(token))
    .map((match) => ({ from: start + match.index, to: start + match.index + match[0].length, text: match[0] }));
}

function retime(found, old, span) {
  if (found.length === old.length) return found.map((token, index) => retimed(token, old[index], old[index]));
  const total = found.reduce((sum, token) => sum + token.text.length, 0);
  let done = 0;
  return found.map((token) => {
    const start = span.start + ((span.end - span.start) * done) / total;
    done += token.text.length;
    return retimed(token, { start, end: span.start + ((span.end - span.start) * done) / total }, null);
  });
}

function retimed({ from, to, text }, { start, end }, old) {
  if (old?.text === text) return { from, to, start, end, probability: old.probability, isEdited: old.isEdited };
  return { from, to, start, end, probability: null, isEdited: true };
}

/** Return a paragraph whose text was edited to another one. */
export function editText(paragraph, text) {
  const { from, to, insert } = findChange(paragraph.text, text);
  return from === to && !insert ? paragraph : replaceRange(paragraph, from, to, insert);
}

/** Return the one range in which two texts differ. */
export function findChange(before, after) {
  const shorter = Math.min(before.length, after.length);
  let head = 0;
  while (head < shorter && before[head] === after[head]) head += 1;
  let tail = 0;
  while (tail < shorter - head && before.at(-1 - tail) === after.at(-1 - tail)) tail += 1;
  return { from: head, to: before.length - tail, insert: after.slice(head, after.length - tail) };
}

/** Return a paragraph of which a person confirmed a word. */
export function confirmWord(paragraph, index) {
  const words = paragraph.words.map((word, at) => (at === index ? { ...word, probability: 1 } : word));
  return { ...paragraph, words };
}

export function isDoubtful(word) {
  return word.probability !== null && word.probability < DOUBTFUL_BELOW;
}

/** Return the place of each doubtful word, as {paragraph, word}. */
export function doubtfulWords(paragraphs) {
  return paragraphs.flatMap((paragraph, at) =>
    paragraph.words.flatMap((word, index) => (isDoubtful(word) ? [{ paragraph: at, word: index }] : [])));
}

/** Return the first place after another one, or before it; around the ends. */
export function neighbour(places, current, { isBackwards = false } = {}) {
  if (!places.length) return null;
  const order = (place) => place.paragraph * 1e6 + place.word;
  const at = current ? order(current) : isBackwards ? Infinity : -1;
  if (isBackwards) return places.findLast((place) => order(place) < at) ?? places.at(-1);
  return places.find((place) => order(place) > at) ?? places[0];
}

/** Return the place of the word at a time: the last one that has started, or null. */
export function wordAt(paragraphs, time) {
  const paragraph = lastStarted(paragraphs, time);
  if (paragraph < 0) return null;
  const word = lastStarted(paragraphs[paragraph].words, time);
  return { paragraph, word };
}

/** Return the word whose text is at an offset, or the one before it; -1 without words. */
export function wordAtOffset(paragraph, offset) {
  return paragraph.words.findLastIndex((word, index) => word.from <= offset || index === 0);
}

function lastStarted(spans, time) {
  let low = 0;
  let high = spans.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (spans[middle].start <= time) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** Return for each paragraph the paragraphs of another transcript that are spoken at the same time. */
export function alignByTime(paragraphs, others) {
  const beside = paragraphs.map(() => []);
  for (const other of others) beside[Math.max(0, lastStarted(paragraphs, midpoint(other)))]?.push(other);
  return beside;
}

/** Return the number of words, by spaces. */
export function countWords(paragraphs) {
  return paragraphs.reduce((sum, { text }) => sum + (text.match(/\S+/g)?.length ?? 0), 0);
}
