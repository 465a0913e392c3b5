// A transcript as a file: txt, srt, vtt and json, as the command `sottovoce transcribe` writes them.

import { makeCues, oneLine, timestamp } from "./cues.js";

export const FORMATS = ["txt", "srt", "vtt", "json"];
export const MEDIA_TYPES = { txt: "text/plain", srt: "application/x-subrip", vtt: "text/vtt", json: "application/json" };

/** Return the text of a file. */
export function exportAs(format, transcript, { source = null, model = null } = {}) {
  switch (format) {
    case "txt": return toText(transcript);
    case "srt": return toSrt(transcript);
    case "vtt": return toVtt(transcript);
    case "json": return toJson(transcript, source, model);
    default: throw new RangeError(`there is no format ${format}`);
  }
}

function toText({ paragraphs }) {
  return paragraphs.map(({ text }) => oneLine(text)).filter(Boolean).map((line) => `${line}\n`).join("");
}

function toSrt({ paragraphs }) {
  const cues = makeCues(paragraphs);
  return cues.map((cue, index) =>
    `${index + 1}\n${timing(cue, ",")}\n${cue.text.replace(/-{2,}>/g, "->")}\n\n`).join("");
}

function toVtt({ paragraphs }) {
  const escape = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  return `WEBVTT\n\n${makeCues(paragraphs).map((cue) => `${timing(cue, ".")}\n${escape(cue.text)}\n\n`).join("")}`;
}

const timing = ({ start, end }, mark) => `${timestamp(start, mark)} --> ${timestamp(end, mark)}`;

function toJson({ language, duration, paragraphs }, source, model) {
  const round = (number, digits) => (number === null ? null : Number(number.toFixed(digits)));
  const word = (text) => ({ from, to, start, end, probability, isEdited }) => ({
    text: text.slice(from, to), start_s: round(start, 3), end_s: round(end, 3),
    probability: round(probability, 4), edited: isEdited,
  });
  const segments = paragraphs.map(({ start, end, text, words }) => ({
    start_s: round(start, 3), end_s: round(end, 3), text, words: words.map(word(text)),
  }));
  const text = segments.map((segment) => segment.text).join(" ");
  const fields = { source, variant: model, language, duration_s: round(duration, 3), text, segments };
  return `${JSON.stringify(fields, null, 1)}\n`;
}

/** Return "talk.srt" for "talk.m4a", "talk.en.srt" with a mark. */
export function fileName(source, format, mark = "") {
  const stem = source.replace(/\.[^.]{1,5}$/, "") || "transcript";
  return `${stem}${mark && `.${mark}`}.${format}`;
}
