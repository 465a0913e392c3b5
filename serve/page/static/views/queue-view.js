// The list of files at the left, with the state of each in words.

import { languageName } from "../logic/languages.js";
import { clock, duration } from "../logic/time.js";
import { doubtfulWords } from "../logic/transcript.js";
import { byId, el, setText } from "./dom.js";

/** Shows the jobs; onOpen is called with the one that is chosen. */
export class QueueView {
  #items = new Map();

  constructor(jobs, { onOpen }) {
    this.jobs = jobs;
    this.onOpen = onOpen;
    jobs.addEventListener("list", () => this.#renderList());
    for (const type of ["job", "saved"]) jobs.addEventListener(type, ({ detail }) => this.#renderItem(detail));
    setInterval(() => jobs.list.filter((job) => isMoving(job)).forEach((job) => this.#renderItem(job)), 1000);
  }

  /** Mark the opened job. */
  select(job) {
    this.opened = job;
    for (const [other, item] of this.#items) item.link.toggleAttribute("aria-current", other === job);
  }

  #renderList() {
    const items = this.jobs.list.map((job) => this.#items.get(job) ?? this.#create(job));
    this.#items = new Map(this.jobs.list.map((job, index) => [job, items[index]]));
    byId("jobs").replaceChildren(...items.map((item) => item.root));
    this.jobs.list.forEach((job) => this.#renderItem(job));
    this.select(this.opened);
  }

  #create(job) {
    const item = {
      name: el("span", { class: "name" }),
      length: el("span", { class: "length" }),
      state: el("span", { class: "state" }),
      bar: el("progress", { max: 1, "aria-label": `Progress of ${job.name}` }),
      action: el("button", { type: "button", class: "link action", click: () => this.#act(job) }),
    };
    item.link = el("a", { href: `#files/${job.id}`, class: "open", click: () => this.onOpen(job) }, item.name, item.length);
    item.root = el("li", { class: "item" }, item.link, item.bar, el("span", { class: "line" }, item.state, item.action));
    return item;
  }

  #renderItem(job) {
    const item = this.#items.get(job);
    if (!item) return;
    const { text, kind, progress, action } = describe(job);
    setText(item.name, job.name);
    setText(item.length, job.duration ? clock(job.duration) : "");
    setText(item.state, text);
    item.state.dataset.kind = kind;
    item.bar.hidden = progress === undefined;
    if (progress === null) item.bar.removeAttribute("value");
    else if (progress !== undefined) item.bar.value = progress;
    setText(item.action, action);
    item.action.setAttribute("aria-label", `${action} ${job.name}`);
  }

  #act(job) {
    if (isMoving(job)) this.jobs.cancel(job);
    else if (["failed", "cancelled", "interrupted"].includes(job.state) && !job.transcript) this.#retryOrRemove(job);
    else if (confirm(`Remove ${job.name} and its text from this browser?`)) this.jobs.remove(job);
  }

  #retryOrRemove(job) {
    if (job.state === "failed" && !job.needsKey) this.jobs.remove(job);
    else this.jobs.retry(job);
  }
}

const isMoving = (job) => ["waiting", "uploading", "working"].includes(job.state);

/** Return {text, kind, progress, action} of a job: progress undefined shows no bar, null one without a value. */
export function describe(job, now = Date.now()) {
  switch (job.state) {
    case "waiting":
      return job.resumeAt
        ? { text: `the server is busy · again in ${Math.max(0, Math.ceil((job.resumeAt - now) / 1000))} s`, kind: "quiet", action: "cancel" }
        : { text: "waiting", kind: "quiet", action: "cancel" };
    case "uploading":
      return { text: `uploading · ${percent(job.uploaded)}`, kind: "quiet", progress: job.uploaded, action: "cancel" };
    case "working":
      return { text: describeProgress(job, now), kind: "quiet", progress: job.progress, action: "cancel" };
    case "done":
      return { text: describeDone(job), kind: "quiet", action: "remove" };
    case "failed":
      return { text: job.error, kind: "bad", action: job.needsKey ? "try again" : "remove" };
    case "cancelled":
      return { text: "cancelled", kind: "quiet", action: "start again" };
    default:
      return { text: "interrupted when the page was closed", kind: "open", action: "start again" };
  }
}

const percent = (part) => `${Math.floor(part * 100)} %`;

function describeProgress(job, now) {
  if (!job.progress) return "transcribing";
  const elapsed = (job.progressAt - job.workStartedAt) / 1000;
  const left = (elapsed / job.progress) * (1 - job.progress) - (now - job.progressAt) / 1000;
  return left < 1 ? percent(job.progress) : `${percent(job.progress)} · ${duration(left)} left`;
}

function describeDone({ transcript, elapsed, isTranslating, translation }) {
  const facts = [isTranslating ? "translating" : elapsed ? `done in ${duration(elapsed)}` : "done"];
  if (!transcript.paragraphs.length) return `${facts[0]} · no speech found`;
  if (transcript.language) facts.push(languageName(transcript.language));
  const n = doubtfulWords(transcript.paragraphs).length;
  if (n) facts.push(`${n.toLocaleString("en")} doubtful`);
  if (translation) facts.push("translated");
  return facts.join(" · ");
}
