// Requests to the server, in OpenAI's form. The key stays in this tab.

import { readEvents } from "../logic/sse.js";

const KEY = "sottovoce-api-key";

/** What the server, or the way to it, refused. */
export class ApiError extends Error {
  constructor(status, message, { retryAfter = null } = {}) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

export const apiKey = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (key) => sessionStorage.setItem(KEY, key),
};

function headers() {
  const key = apiKey.get();
  return key ? { Authorization: `Bearer ${key}` } : {};
}

/** Return an address of the server, also where a proxy serves it under a path. */
export const address = (path) => new URL(path, document.baseURI);

const ALIAS = "whisper-1"; // the first model under OpenAI's name

/** Return the names of the served models. */
export async function listModels() {
  const answer = await fetch(address("v1/models"), { headers: headers() });
  if (!answer.ok) throw readError(answer.status, await answer.text(), answer.headers.get("Retry-After"));
  const names = (await answer.json()).data.map((model) => model.id);
  return names.length > 1 ? names.filter((name) => name !== ALIAS) : names;
}

/** Return whether the server takes work. */
export async function isReady() {
  return (await fetch(address("readyz"))).ok;
}

/**
 * Transcribe or translate a file; resolves with the answer in the format verbose_json.
 *
 * onUpload gets the uploaded part of the file, 0 to 1; onSegment gets each segment when it is ready.
 */
export function transcribe({ file, name, model, language, task, signal, onUpload, onSegment }) {
  const form = new FormData();
  form.append("model", model);
  if (language && task === "transcribe") form.append("language", language);
  form.append("response_format", "verbose_json");
  form.append("timestamp_granularities[]", "word");
  form.append("timestamp_granularities[]", "segment");
  if (task === "transcribe") form.append("stream", "true");
  form.append("file", file, name);
  const path = task === "translate" ? "v1/audio/translations" : "v1/audio/transcriptions";
  return send(path, form, { signal, onUpload, onSegment });
}

function send(path, form, { signal, onUpload, onSegment }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const segments = [];
    let done = null;
    let rest = "";
    let nRead = 0;
    const isStream = () => request.getResponseHeader("Content-Type")?.startsWith("text/event-stream");
    const read = () => {
      if (request.status !== 200 || !isStream()) return;
      const found = readEvents(rest, request.responseText.slice(nRead));
      rest = found.rest;
      for (const event of found.events) {
        if (event.type === "transcript.text.done") done = event;
        else if (event.error) reject(new ApiError(500, event.error.message));
        else if (event.segment) {
          segments.push(event.segment);
          onSegment?.(event.segment);
        }
      }
      nRead = request.responseText.length;
    };
    request.open("POST", address(path));
    for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => onUpload?.(event.loaded / event.total);
    request.upload.onload = () => onUpload?.(1);
    request.onprogress = read;
    request.onload = () => {
      if (request.status !== 200) {
        reject(readError(request.status, request.responseText, request.getResponseHeader("Retry-After")));
        return;
      }
      read();
      if (!isStream()) resolve(JSON.parse(request.responseText));
      else if (done) resolve({ ...done, segments, words: segments.flatMap((segment) => segment.words ?? []) });
      else reject(new ApiError(0, "The server ended the answer early. Try again."));
    };
    request.onerror = () => reject(new ApiError(0, "The server cannot be reached. Is it running?"));
    request.onabort = () => reject(new DOMException("cancelled", "AbortError"));
    signal?.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}

function readError(status, text, retryAfter) {
  let message = `The server answered with status ${status}.`;
  try {
    message = JSON.parse(text).error.message;
  } catch {
    // an answer of a proxy: the status says what is known
  }
  return new ApiError(status, message, { retryAfter: retryAfter === null ? null : Number(retryAfter) || 1 });
}
