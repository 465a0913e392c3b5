// The same audio by two variants, side by side, with the words in which they differ.

import { transcribe } from "../io/api.js";
import { compareTexts } from "../logic/diff.js";
import { clock, count, duration } from "../logic/time.js";
import { readTranscript } from "../logic/transcript.js";
import { announce, byId, el, scrollBehavior, setText } from "./dom.js";

export class CompareView {
  #at = -1;

  constructor(jobs) {
    this.jobs = jobs;
    jobs.addEventListener("list", () => this.#renderAudio());
    byId("compare-file").addEventListener("change", ({ target }) => this.#choose(target.files[0]));
    byId("compare-form").addEventListener("submit", (event) => this.#submit(event));
    byId("next-difference").addEventListener("click", () => this.#step(1));
    byId("previous-difference").addEventListener("click", () => this.#step(-1));
    byId("only-differing").addEventListener("change", ({ target }) => byId("sides").classList.toggle("only-differing", target.checked));
    this.#renderAudio();
  }

  /** Offer the served models. */
  setModels(models) {
    const choose = (id, selected) => byId(id).replaceChildren(...models.map((model) => el("option", { selected: model === selected }, model)));
    const reference = models.find((model) => /fp32/.test(model)) ?? models[1] ?? models[0];
    choose("compare-left", reference);
    choose("compare-right", models.find((model) => model !== reference));
    byId("compare-start").disabled = models.length < 2;
    if (models.length === 1) setText(byId("compare-message"), "One variant is served. Start the server with two to compare them: sottovoce serve RUN/fp32 RUN/int8-fast");
  }

  #renderAudio() {
    const chosen = byId("compare-audio").value;
    const options = this.jobs.list.map((job) => el("option", { value: job.id, selected: job.id === chosen }, job.name));
    if (this.file) options.unshift(el("option", { value: "file", selected: chosen === "file" }, this.file.name));
    if (!options.length) options.push(el("option", { value: "" }, "choose a file"));
    byId("compare-audio").replaceChildren(...options);
  }

  #choose(file) {
    if (!file) return;
    this.file = file;
    this.#renderAudio();
    byId("compare-audio").value = "file";
  }

  async #audio() {
    const chosen = byId("compare-audio").value;
    if (chosen === "file") return { file: this.file, name: this.file.name };
    const job = this.jobs.list.find((other) => other.id === chosen);
    const file = job && await this.jobs.audioOf(job);
    if (!file) throw new Error(job ? "This browser no longer has the audio. Choose the file again." : "Choose a file first.");
    return { file, name: job.name, language: job.language };
  }

  async #submit(event) {
    event.preventDefault();
    if (this.controller) {
      this.controller.abort();
      return;
    }
    this.controller = new AbortController();
    byId("compare-start").textContent = "Cancel";
    try {
      const audio = await this.#audio();
      const models = [byId("compare-left").value, byId("compare-right").value];
      const sides = [];
      for (const model of models) sides.push(await this.#transcribe(audio, model)); // one after another, so that times compare
      this.#show(audio.name, sides);
    } catch (error) {
      setText(byId("compare-message"), error.name === "AbortError" ? "cancelled" : error.message);
    }
    byId("compare-start").textContent = "Compare";
    this.controller = null;
  }

  async #transcribe(audio, model) {
    setText(byId("compare-message"), `${model} transcribes ${audio.name}`);
    let startedAt = performance.now();
    const answer = await transcribe({
      ...audio, model, task: "transcribe", signal: this.controller.signal,
      onUpload: (part) => { if (part === 1) startedAt = performance.now(); },
    });
    return { model, transcript: readTranscript(answer), seconds: (performance.now() - startedAt) / 1000 };
  }

  #show(name, [left, right]) {
    const { nWords, nDiffer, rows } = compareTexts(left.transcript.paragraphs, right.transcript.paragraphs);
    const ratio = left.seconds / right.seconds;
    byId("figures").replaceChildren(
      figure(`${nDiffer.toLocaleString("en")} of ${nWords.toLocaleString("en")}`, "words differ"),
      figure(`${(ratio >= 1 ? ratio : 1 / ratio).toFixed(1)}x`, ratio >= 1 ? "faster at the right" : "faster at the left"),
      figure(clock(left.transcript.duration), "of audio"),
    );
    byId("sides").replaceChildren(
      el("div", { class: "side-row titles" }, heading(left), heading(right)),
      ...rows.map((row) => el("div", { class: row.differs ? "side-row" : "side-row same" }, side(row.left, "left"), side(row.right, "right"))),
    );
    setText(byId("compare-message"), name);
    byId("compare-result").hidden = false;
    this.#at = -1;
    for (const id of ["next-difference", "previous-difference"]) byId(id).disabled = !nDiffer;
    announce(`${count(nDiffer, "word")} of ${nWords} differ`);
  }

  #step(by) {
    const rows = [...byId("sides").querySelectorAll(".side-row:not(.same, .titles)")];
    if (!rows.length) return;
    rows[this.#at]?.classList.remove("current");
    this.#at = this.#at < 0 && by < 0 ? rows.length - 1 : (this.#at + by + rows.length) % rows.length;
    rows[this.#at].classList.add("current");
    rows[this.#at].scrollIntoView({ block: "center", behavior: scrollBehavior() });
    const words = [...rows[this.#at].children].map((part) => [...part.querySelectorAll("mark")].map((mark) => mark.textContent.trim()).join(", ") || "nothing");
    announce(`difference ${this.#at + 1} of ${rows.length}: ${words.join(" or ")}`);
  }
}

const figure = (value, label) => el("div", {}, el("dt", {}, label), el("dd", {}, value));

function heading({ model, seconds, transcript }) {
  const speed = transcript.duration / seconds;
  return el("div", {}, el("h2", {}, model), el("p", { class: "quiet" }, `${duration(seconds)} · ${speed.toFixed(speed < 10 ? 1 : 0)}x real time`));
}

function side(paragraphs, name) {
  return el("div", { class: name }, ...paragraphs.map(({ start, pieces }) => el("div", { class: "part" },
    el("span", { class: "time" }, clock(start)),
    el("p", {}, ...pieces.map(({ text, differs }) => (differs ? el("mark", {}, text) : text))))));
}
