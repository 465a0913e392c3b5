// One opened file: its facts, the transcript with search and editing, and the player.

import { languageName } from "../logic/languages.js";
import { findAll, firstAfter, replaceAll } from "../logic/search.js";
import { ago, clock, count } from "../logic/time.js";
import { alignByTime, confirmWord, doubtfulWords, editText, isDoubtful, neighbour, replaceRange, wordAt } from "../logic/transcript.js";
import { previewOf } from "../jobs.js";
import { announce, byId, setText } from "./dom.js";
import { ExportMenu } from "./export-menu.js";
import { Player } from "./player.js";
import { describe } from "./queue-view.js";
import { TranscriptView } from "./transcript-view.js";

const MAX_UNDO = 100;
const LEAD_S = 0.3; // a word that a person steps to is played from a little before it

export class JobView {
  #undone = [];
  #undo = [];
  #places = [];
  #found = -1;
  #current = null;

  constructor(jobs) {
    this.jobs = jobs;
    this.player = new Player({ onTime: (seconds, isPlaying) => this.#light(seconds, isPlaying) });
    this.view = new TranscriptView({
      onWord: (place) => this.#playFrom(place),
      onEdit: (index, text) => this.#edit(index, text),
      onEditStart: () => this.player.pause(),
      onEditEnd: () => { this.hasTyped = false; },
      onFocus: (index) => { this.focused = index; },
    });
    this.menu = new ExportMenu({ source: () => this.job, onDone: announce });
    jobs.addEventListener("job", ({ detail }) => detail === this.job && this.#renderChange());
    jobs.addEventListener("saved", ({ detail }) => detail === this.job && this.#renderFacts());
    jobs.addEventListener("list", () => this.job && !jobs.list.includes(this.job) && this.close());
    setInterval(() => this.job && this.#renderFacts(), 5000);
    this.#listen();
  }

  #listen() {
    byId("search").addEventListener("input", () => this.#search());
    byId("search").addEventListener("keydown", (event) => this.#searchKey(event));
    byId("found-next").addEventListener("click", () => this.#showFound(this.#found + 1));
    byId("found-previous").addEventListener("click", () => this.#showFound(this.#found - 1));
    byId("replace-one").addEventListener("click", () => this.#replaceOne());
    byId("replace-all").addEventListener("click", () => this.#replaceAll());
    byId("replacement").addEventListener("keydown", (event) => event.key === "Enter" && this.#replaceOne());
    byId("next-doubtful").addEventListener("click", () => this.nextDoubtful());
    byId("confirm").addEventListener("click", () => this.confirm());
    byId("translate").addEventListener("click", () => this.#translate());
    byId("copy").addEventListener("click", () => this.menu.copy());
  }

  get paragraphs() {
    return this.job?.transcript?.paragraphs ?? [];
  }

  /** Open a job. */
  async open(job) {
    if (job === this.job) return;
    this.player.pause();
    this.job = job;
    [this.#undo, this.#undone, this.#current, this.focused] = [[], [], null, 0];
    byId("job-empty").hidden = true;
    byId("job-opened").hidden = false;
    byId("scroller").scrollTop = 0;
    byId("search").value = "";
    this.#showText();
    this.#search();
    this.#renderFacts();
    await this.#loadAudio(job);
  }

  close() {
    this.player.pause();
    this.job = null;
    byId("job-empty").hidden = false;
    byId("job-opened").hidden = true;
  }

  async #loadAudio(job) {
    const blob = await this.jobs.audioOf(job);
    if (job !== this.job) return;
    const duration = job.transcript?.duration || job.duration || 0;
    this.loadedFor = `${job.id} ${Boolean(job.transcript)}`;
    await this.player.load(blob, { duration, paragraphs: this.paragraphs });
  }

  #renderChange() {
    this.#renderFacts();
    if (this.job.transcript && this.job.state === "done" && this.shown !== this.job.transcript) this.#showText();
    else if (this.job.translation !== this.shownTranslation) this.#showText();
    else if (!this.job.transcript && this.job.preview?.length) this.view.extend(previewOf(this.job));
    if (this.job.transcript && this.loadedFor !== `${this.job.id} true`) this.#loadAudio(this.job);
  }

  #showText() {
    const { transcript, translation } = this.job;
    [this.shown, this.shownTranslation] = [transcript, translation];
    const beside = translation && transcript ? alignByTime(transcript.paragraphs, translation.paragraphs) : null;
    this.view.show(transcript ? transcript.paragraphs : previewOf(this.job), { beside, isPreview: !transcript });
    this.#renderDoubtful();
    if (byId("search").value) this.#search();
  }

  #renderFacts() {
    const { job } = this;
    setText(byId("job-name"), job.name);
    const facts = [
      job.duration ? clock(job.duration) : null,
      job.transcript?.language ? languageName(job.transcript.language) : null,
      job.model,
      job.transcript ? describeSaved(job) : job.state === "failed" ? null : describe(job).text,
    ];
    setText(byId("job-facts"), facts.filter(Boolean).join(" · "));
    byId("job-note").hidden = !job.note;
    setText(byId("job-note"), job.note ?? "");
    byId("tools").classList.toggle("awaiting", !job.transcript); // it keeps its room, so that nothing jumps
    byId("awaited").hidden = Boolean(job.transcript || job.preview?.length);
    setText(byId("awaited"), describeAwaited(job));
    byId("translate").hidden = Boolean(job.translation) || /^en/i.test(job.transcript?.language ?? "");
    byId("translate").disabled = Boolean(job.isTranslating);
    setText(byId("translate"), job.isTranslating ? "Translating …" : "Translate to English");
  }

  #light(seconds, isPlaying) {
    const isStepping = !isPlaying && this.#current; // the word that is stepped to is marked already
    this.view.light(isStepping ? null : wordAt(this.view.paragraphs, seconds), { follows: isPlaying });
  }

  #playFrom(place) {
    const paragraph = this.view.paragraphs[place.paragraph];
    this.#setCurrent(null);
    this.focused = place.paragraph;
    this.player.seek((paragraph.words[place.word] ?? paragraph).start, { plays: true });
  }

  // Editing

  #edit(index, text) {
    if (!this.hasTyped) this.#remember(); // a step to undo for all that is typed until the paragraph is left
    this.hasTyped = true;
    const edited = editText(this.paragraphs[index], text);
    this.#replaceParagraphs(this.paragraphs.with(index, edited), { isTyped: true });
    return edited;
  }

  #remember() {
    this.#undo = [...this.#undo, this.paragraphs].slice(-MAX_UNDO);
    this.#undone = [];
  }

  #replaceParagraphs(paragraphs, { isTyped = false } = {}) {
    this.job.transcript = { ...this.job.transcript, paragraphs };
    this.shown = this.job.transcript;
    if (!isTyped) this.view.update(paragraphs);
    this.jobs.touch(this.job);
    this.#renderDoubtful();
    if (byId("search").value) this.#refreshFound();
  }

  /** Take the last change back. */
  undo() {
    this.#swap(this.#undo, this.#undone, "undone");
  }

  redo() {
    this.#swap(this.#undone, this.#undo, "done again");
  }

  #swap(from, to, message) {
    const paragraphs = from.pop();
    if (!paragraphs) return;
    to.push(this.paragraphs);
    this.#replaceParagraphs(paragraphs);
    announce(message);
  }

  /** Edit the word that is stepped to, or the paragraph that plays. */
  edit() {
    const place = this.#current ?? wordAt(this.paragraphs, this.player.time) ?? { paragraph: this.focused ?? 0, word: -1 };
    const word = this.paragraphs[place.paragraph]?.words[place.word];
    this.view.edit(place.paragraph, word && this.#current ? { from: word.from, to: word.to } : {});
  }

  // Doubtful words

  nextDoubtful({ isBackwards = false } = {}) {
    const places = doubtfulWords(this.paragraphs);
    const place = neighbour(places, this.#current ?? wordAt(this.paragraphs, this.player.time), { isBackwards });
    if (!place) {
      announce("no doubtful words");
      return;
    }
    const paragraph = this.paragraphs[place.paragraph];
    const word = paragraph.words[place.word];
    this.player.pause();
    this.#setCurrent(place);
    this.player.seek(word.start - LEAD_S);
    const index = places.findIndex((other) => other.paragraph === place.paragraph && other.word === place.word);
    const text = paragraph.text.slice(word.from, word.to);
    announce(`${text}, ${Math.round(word.probability * 100)} % sure, ${index + 1} of ${places.length}, at ${clock(word.start)}`);
  }

  #setCurrent(place) {
    this.#current = place;
    this.view.setCurrent(place);
    byId("confirm").hidden = !place;
  }

  /** Note that the doubtful word is right, and go to the next. */
  confirm() {
    const place = this.#current;
    const paragraph = place && this.paragraphs[place.paragraph];
    if (!paragraph || !paragraph.words[place.word] || !isDoubtful(paragraph.words[place.word])) return;
    this.#remember();
    this.#replaceParagraphs(this.paragraphs.with(place.paragraph, confirmWord(paragraph, place.word)));
    if (doubtfulWords(this.paragraphs).length) this.nextDoubtful();
    else this.#setCurrent(null);
  }

  #renderDoubtful() {
    const n = doubtfulWords(this.paragraphs).length;
    byId("next-doubtful").disabled = !n;
    setText(byId("n-doubtful"), n.toLocaleString("en"));
  }

  // Search

  #search() {
    this.#places = findAll(this.paragraphs, byId("search").value);
    const from = { paragraph: this.focused ?? 0, from: 0 };
    this.#renderFound(firstAfter(this.#places, from), { reveals: true });
  }

  #refreshFound() {
    this.#places = findAll(this.paragraphs, byId("search").value);
    this.#renderFound(Math.min(this.#found, this.#places.length - 1), { reveals: false });
  }

  #showFound(index) {
    const n = this.#places.length;
    if (n) this.#renderFound((index + n) % n, { reveals: true });
  }

  #renderFound(index, { reveals }) {
    this.#found = index;
    const n = this.#places.length;
    const hasQuery = Boolean(byId("search").value.trim());
    const text = n ? `${(index + 1).toLocaleString("en")} of ${n.toLocaleString("en")}` : "none";
    setText(byId("found"), hasQuery ? text : "");
    byId("replace-tools").hidden = !n;
    byId("found-next").hidden = !hasQuery;
    byId("found-previous").hidden = !hasQuery;
    this.view.setFound(this.#places, index);
    if (!reveals || !n) return;
    this.view.reveal(this.#places[index].paragraph);
    this.focused = this.#places[index].paragraph;
    announce(text);
  }

  #searchKey(event) {
    if (event.key === "Enter") this.#showFound(this.#found + (event.shiftKey ? -1 : 1));
    if (event.key !== "Escape") return;
    byId("search").value = "";
    this.#search();
    byId("search").blur();
  }

  #replaceOne() {
    const place = this.#places[this.#found];
    if (!place) return;
    const replacement = byId("replacement").value;
    this.#remember();
    const edited = replaceRange(this.paragraphs[place.paragraph], place.from, place.to, replacement);
    this.#replaceParagraphs(this.paragraphs.with(place.paragraph, edited));
    const next = firstAfter(this.#places, { paragraph: place.paragraph, from: place.from + replacement.length });
    this.#showFound(next);
  }

  #replaceAll() {
    const n = this.#places.length;
    if (!n) return;
    this.#remember();
    this.#replaceParagraphs(replaceAll(this.paragraphs, this.#places, byId("replacement").value));
    announce(`${count(n, "place")} replaced`);
  }

  async #translate() {
    try {
      await this.jobs.translate(this.job);
      announce("translated");
    } catch (error) {
      this.job.note = `Not translated: ${error.message}`;
      this.#renderFacts();
      announce(this.job.note);
    }
  }
}

function describeAwaited(job) {
  if (job.state === "failed") return job.error;
  return ["cancelled", "interrupted"].includes(job.state) ? "There is no text yet: start it again at the left." : "The text appears here while it is made.";
}

function describeSaved({ savedAt }) {
  if (savedAt === null) return "this browser has no room to keep it: export it";
  return savedAt ? `saved ${ago((Date.now() - savedAt) / 1000)} in this browser` : "kept in this browser";
}
