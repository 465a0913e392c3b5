// Subtitle cues: the rules of sottovoce.runtime.output.subtitles, where they are explained.
// Units: milliseconds, and columns of a line.

import { endsClause, endsSentence } from "./sentences.js";

const MAX_COLUMNS = 42;
const MAX_LINES = 2;
const MAX_CUE_MS = 7000;
const MIN_CUE_MS = 20;
const MIN_SHOWN_MS = 833;
const GAP_MS = 83;
const MIN_SHARE = 0.25;

const BLANKS = /(?:(?![\u00a0\u202f])\s|[\x00-\x1f\x7f-\x9f\ufeff])+/gu;
const KANJI = "\\u3041-\\u3096\\u30a1-\\u30fa\\u31f0-\\u31ff\\u3400-\\u4dbf\\u4e00-\\u9fff\\uf900-\\ufaff\\u{20000}-\\u{3fffd}";
const OPENING = "「『（【〈《〔［｛“";
const CLOSING = "、。，．！？：；」』）】〉》〕］｝”’ー々ゝヽ・…,.!?:;)%";
const UNIT = new RegExp(
  ` ?(?:[${OPENING}]*(?:[${KANJI}]|[^ ${KANJI}${OPENING}]+)[${CLOSING}]*|[${OPENING}]+)`, "gu",
);
const WIDE = /[\u1100-\u115f\u2e80-\u303e\u3041-\u33ff\u3400-\u4dbf\u4e00-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]/u;
const WITHOUT_WIDTH = /[\p{Mn}\p{Me}\p{Cf}]/u;

/** Return the cues of paragraphs, as {start, end, text} with times in milliseconds, not overlapping. */
export function makeCues(paragraphs) {
  return separate(paragraphs.flatMap((paragraph) => {
    const line = oneLine(paragraph.text);
    return line ? cuesOf(paragraph, line) : [];
  }));
}

/** Return text with each run of blanks and control characters as one space. */
export function oneLine(text) {
  return text.replace(BLANKS, " ").trim();
}

/** Return "01:02:03,456". */
export function timestamp(milliseconds, mark) {
  const pad = (number, digits = 2) => String(number).padStart(digits, "0");
  const seconds = Math.floor(milliseconds / 1000);
  const minutes = Math.floor(seconds / 60);
  return `${pad(Math.floor(minutes / 60))}:${pad(minutes % 60)}:${pad(seconds % 60)}${mark}${pad(milliseconds % 1000, 3)}`;
}

const toMs = (seconds) => (Number.isFinite(seconds) ? Math.max(0, roundEven(seconds * 1000)) : 0);

function roundEven(number) {
  const below = Math.floor(number);
  if (number - below !== 0.5) return Math.round(number);
  return below % 2 ? below + 1 : below;
}

function cuesOf(paragraph, line) {
  const timed = timedWords(paragraph);
  const hasTimes = joinWords(timed) === line;
  const parts = splitWords(hasTimes ? timed : interpolate(paragraph, line), hasTimes);
  return parts.flatMap((part) => {
    const first = parts.length === 1 ? paragraph : part[0];
    const last = parts.length === 1 ? paragraph : part.at(-1);
    const lines = wrap(joinWords(part));
    const start = toMs(first.start);
    return lines.length ? [{ start, end: Math.min(toMs(last.end), start + MAX_CUE_MS), text: lines.join("\n") }] : [];
  });
}

/** Return the words with the text before each, so that they join to the paragraph's text. */
function timedWords({ text, words }) {
  return words.map((word, index) => {
    const start = index ? words[index - 1].to : 0;
    const end = index === words.length - 1 ? text.length : word.to;
    return { text: text.slice(start, end), start: word.start, end: word.end };
  });
}

function interpolate(paragraph, line) {
  const pieces = line.match(UNIT).flatMap((unit) => {
    const gap = unit.startsWith(" ") ? " " : "";
    const [first, ...others] = breakLong(unit.slice(gap.length));
    return [gap + first, ...others];
  });
  const total = Math.max(1, columns(line));
  const at = (done) => paragraph.start + ((paragraph.end - paragraph.start) * done) / total;
  let done = 0;
  return pieces.map((piece) => {
    const start = at(done);
    done += columns(piece);
    return { text: piece, start, end: at(done) };
  });
}

function splitWords(words, hasTimes) {
  if (words.length <= 1 || fits(words, hasTimes)) return [words];
  const middle = words.reduce((sum, word) => sum + columns(word.text), 0) / 2;
  const least = 2 * MIN_SHARE * middle;
  let sum = 0;
  const candidates = words.slice(0, -1).map((word, index) => {
    sum += columns(word.text);
    return { index: index + 1, isBalanced: least <= sum && sum <= 2 * middle - least,
      rank: [...border(word, words[index + 1]), -Math.abs(sum - middle)] };
  });
  const balanced = candidates.filter((candidate) => candidate.isBalanced);
  const best = (balanced.length ? balanced : candidates)
    .reduce((a, b) => (compareRanks(b.rank, a.rank) > 0 ? b : a)).index;
  return [...splitWords(words.slice(0, best), hasTimes), ...splitWords(words.slice(best), hasTimes)];
}

function fits(words, hasTimes) {
  const isShort = !hasTimes || toMs(words.at(-1).end) - toMs(words[0].start) <= MAX_CUE_MS;
  return isShort && wrap(joinWords(words)).length <= MAX_LINES;
}

function border(before, after) {
  return [
    Number(endsSentence(before.text, after.text)),
    Number(endsClause(before.text)),
    roundEven((toMs(after.start) - toMs(before.end)) / 100),
  ];
}

function compareRanks(a, b) {
  const index = a.findIndex((value, at) => value !== b[at]);
  return index < 0 ? 0 : a[index] - b[index];
}

const joinWords = (words) => oneLine(words.map((word) => word.text).join(""));

function separate(cues) {
  let end = 0;
  return cues.map((cue, index) => {
    const start = Math.max(cue.start, end);
    end = Math.max(cue.end, start + MIN_SHOWN_MS);
    if (index + 1 < cues.length) {
      const next = cues[index + 1].start;
      const hasRoom = next - GAP_MS >= start + MIN_SHOWN_MS;
      end = Math.max(Math.min(end, hasRoom ? next - GAP_MS : next), start + MIN_CUE_MS);
    }
    return { start, end, text: cue.text };
  });
}

function wrap(text) {
  const lines = [""];
  for (const unit of text.match(UNIT) ?? []) {
    let gap = unit.startsWith(" ") ? " " : "";
    for (const piece of breakLong(unit.slice(gap.length))) {
      const last = lines.at(-1);
      if (last && columns(last + gap + piece) > MAX_COLUMNS) lines.push(piece);
      else lines[lines.length - 1] = last ? last + gap + piece : piece;
      gap = "";
    }
  }
  return lines.filter((line) => line.trim());
}

function breakLong(unit) {
  const pieces = [""];
  for (const char of unit) {
    if (pieces.at(-1) && columns(pieces.at(-1) + char) > MAX_COLUMNS) pieces.push("");
    pieces[pieces.length - 1] += char;
  }
  return pieces;
}

function columns(text) {
  let sum = 0;
  for (const char of text) sum += WITHOUT_WIDTH.test(char) ? 0 : WIDE.test(char) ? 2 : 1;
  return sum;
}
