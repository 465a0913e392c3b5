// The queue: files, what is done with them, and their transcripts. Views listen for "list" and "job".

import { ApiError, transcribe } from "./io/api.js";
import { lengthOf } from "./io/audio.js";
import { loadAudio, loadJobs, removeJob, saveAudio, saveJob } from "./io/store.js";
import { joinSegments, readSegments, readTranscript } from "./logic/transcript.js";

const N_AT_ONCE = 2;
const SAVE_AFTER_MS = 1000;
const MAX_WAIT_S = 30; // between attempts while the server is busy
const RUNNING = ["uploading", "working"];

export class Jobs extends EventTarget {
  list = [];
  #unsaved = new Set();
  #timer = null;

  /** Load what this browser kept. */
  async restore() {
    const records = await loadJobs().catch(() => []);
    for (const record of records) {
      const isCut = record.state === "waiting" || RUNNING.includes(record.state);
      this.list.push(isCut ? { ...record, state: "interrupted" } : record);
    }
    this.list.sort((a, b) => b.created - a.created || a.index - b.index);
    this.#emit("list");
  }

  /** Queue files, which become jobs; returns the first. */
  add(files, { model, language, translates }) {
    const created = Date.now();
    const jobs = [...files].map((file, index) => ({
      id: crypto.randomUUID?.() ?? `${created}-${index}-${Math.random()}`,
      name: file.name, created, index, model, language, translates, file,
      state: "waiting", uploaded: 0, progress: null, duration: null, transcript: null, translation: null,
    }));
    this.list.unshift(...jobs);
    for (const job of jobs) this.#begin(job);
    this.#emit("list");
    return jobs[0];
  }

  async #begin(job) {
    this.touch(job);
    saveAudio(job.id, job.file).catch(() => this.#set(job, { note: "The audio is too large for this browser to keep; the text is kept." }));
    this.#pump();
    const duration = await lengthOf(job.file);
    if (duration && !job.duration) this.#set(job, { duration });
  }

  /** Return the audio of a job, or null. */
  async audioOf(job) {
    job.file ??= await loadAudio(job.id).catch(() => null) ?? null;
    return job.file;
  }

  cancel(job) {
    job.controller?.abort();
    this.#set(job, { state: "cancelled", resumeAt: null });
    this.#pump();
  }

  async retry(job) {
    if (!await this.audioOf(job)) {
      this.#set(job, { state: "failed", error: "This browser no longer has the audio. Add the file again." });
      return;
    }
    this.#set(job, { state: "waiting", error: null, progress: null });
    this.#pump();
  }

  async remove(job) {
    job.controller?.abort();
    this.list = this.list.filter((other) => other !== job);
    this.#unsaved.delete(job);
    this.#emit("list");
    await removeJob(job.id).catch(() => {});
    this.#pump();
  }

  /** Translate a transcribed job to English. */
  async translate(job) {
    const file = await this.audioOf(job);
    if (!file) throw new Error("This browser no longer has the audio. Add the file again.");
    this.#set(job, { isTranslating: true });
    try {
      const answer = await transcribe({ file, name: job.name, model: job.model, task: "translate" });
      this.#set(job, { translation: readTranscript(answer) });
    } finally {
      this.#set(job, { isTranslating: false });
    }
  }

  /** Note that a job changed: it is saved within a second. */
  touch(job) {
    this.#unsaved.add(job);
    this.#timer ??= setTimeout(() => this.save(), SAVE_AFTER_MS);
  }

  /** Save what changed now. */
  async save() {
    clearTimeout(this.#timer);
    this.#timer = null;
    const jobs = [...this.#unsaved];
    this.#unsaved.clear();
    await Promise.all(jobs.map(async (job) => {
      try {
        await saveJob(recordOf(job));
        job.savedAt = Date.now();
      } catch {
        job.savedAt = null;
      }
      this.#emit("saved", job);
    }));
  }

  #pump() {
    const n = this.list.filter((job) => RUNNING.includes(job.state)).length;
    const waiting = this.list.filter((job) => job.state === "waiting" && !job.resumeAt)
      .sort((a, b) => a.created - b.created || a.index - b.index);
    for (const job of waiting.slice(0, Math.max(0, N_AT_ONCE - n))) this.#run(job);
  }

  async #run(job) {
    job.controller = new AbortController();
    this.#set(job, { state: "uploading", uploaded: 0, progress: null, startedAt: Date.now(), preview: [] });
    try {
      const answer = await this.#request(job);
      const elapsed = (Date.now() - job.startedAt) / 1000;
      const transcript = readTranscript(answer);
      this.#set(job, { state: "done", transcript, duration: transcript.duration || job.duration, elapsed, preview: null });
      if (job.translates) await this.translate(job);
    } catch (error) {
      this.#fail(job, error);
    }
    this.#pump();
  }

  #request(job) {
    return transcribe({
      file: job.file, name: job.name, model: job.model, language: job.language, task: "transcribe", signal: job.controller.signal,
      onUpload: (uploaded) => {
        this.#set(job, { uploaded, ...(uploaded === 1 && { state: "working", workStartedAt: Date.now() }) });
      },
      onSegment: (segment) => this.#extend(job, segment),
    });
  }

  #extend(job, segment) {
    job.preview.push(...readSegments([segment], segment.words ?? []));
    const progress = job.duration ? Math.min(1, segment.end / job.duration) : null;
    this.#set(job, { progress, progressAt: Date.now() });
  }

  #fail(job, error) {
    if (error.name === "AbortError") return;
    if (job.state === "done") this.#set(job, { note: `Not translated: ${error.message}` });
    else if (error instanceof ApiError && [429, 503].includes(error.status)) this.#waitAndRetry(job, error);
    else this.#set(job, { state: "failed", error: error.message, needsKey: error.status === 401 });
  }

  #waitAndRetry(job, error) {
    const wait = Math.min(error.retryAfter ?? 5, MAX_WAIT_S);
    this.#set(job, { state: "waiting", resumeAt: Date.now() + wait * 1000 });
    setTimeout(() => {
      if (job.state !== "waiting") return;
      job.resumeAt = null;
      this.#pump();
    }, wait * 1000);
  }

  #set(job, changes) {
    const isNews = "state" in changes || "transcript" in changes || "translation" in changes || "note" in changes;
    Object.assign(job, changes);
    if (isNews) this.touch(job);
    this.#emit("job", job);
  }

  #emit(type, job = null) {
    this.dispatchEvent(new CustomEvent(type, { detail: job }));
  }
}

/** Return the paragraphs that are known while a job is under way. */
export const previewOf = (job) => joinSegments(job.preview ?? []);

function recordOf({ id, name, created, index, model, language, translates, state, duration, transcript, translation, elapsed, error, note }) {
  return { id, name, created, index, model, language, translates, state, duration, transcript, translation, elapsed, error, note };
}
