// Captions from the microphone: committed text is steady and announced, the tail is dim and hidden from screen readers.

import { Microphone, recordingName } from "../io/microphone.js";
import { Realtime } from "../io/realtime.js";
import { clock } from "../logic/time.js";
import { announce, byId, el, isTyping, setText } from "./dom.js";

const LATE_S = 3;
const PHONE = "(max-width: 52rem)";
const SIZES_REM = [1.25, 1.5, 1.875, 2.25, 2.75, 3.5];
const N_DELAYS = 20; // words whose median delay is shown
const CLOSE_AFTER_MS = 15_000; // without the last words by then, the connection is closed
const CLOSE_AFTER_LAST_MS = 2000; // an utterance that ended before the stop may come before the last one

export class LiveView {
  #paragraphs = new Map();
  #levels = [0, 0, 0, 0, 0];
  #delays = [];
  #size = matchMedia(PHONE).matches ? 1 : 2;
  #tail = el("span", { class: "tail", "aria-hidden": "true" });

  /** model() gives the chosen model; onKeep gets the recording. */
  constructor({ model, onKeep }) {
    this.model = model;
    this.onKeep = onKeep;
    byId("live-toggle").addEventListener("click", () => (this.microphone ? this.stop() : this.start()));
    byId("smaller").addEventListener("click", () => this.#resize(-1));
    byId("larger").addEventListener("click", () => this.#resize(1));
    byId("live-copy").addEventListener("click", () => this.#copy());
    byId("live-keep").addEventListener("click", () => this.onKeep(this.recording));
    document.addEventListener("keydown", (event) => this.#key(event));
    this.#resize(0);
    this.#enableResults();
  }

  /** Open the microphone and the connection. */
  async start() {
    byId("live-toggle").disabled = true;
    try {
      this.microphone = await Microphone.open({
        onSamples: (integers, level) => this.#send(integers, level),
        onSilence: () => this.#fail("The browser delivers no sound from the microphone."),
      });
      this.#connect();
      this.#clear();
    } catch (error) {
      this.#fail(error.message);
    }
    byId("live-toggle").disabled = false;
    this.#renderState();
  }

  #connect() {
    this.realtime = new Realtime({
      model: this.model(), language: byId("live-language").value, sampleRate: this.microphone.sampleRate,
      handlers: {
        onDelta: (event) => this.#commit(event),
        onHypothesis: (event) => this.#showTail(event),
        onCompleted: (event) => this.#complete(event),
        onError: (message) => this.#fail(message),
        onClose: (event) => this.#closed(event),
      },
    });
  }

  #clear() {
    byId("captions").replaceChildren();
    byId("live-empty").hidden = true;
    this.#paragraphs.clear();
    this.#delays = [];
    this.startedAt = null;
    this.timer = setInterval(() => this.#renderTime(), 200);
  }

  #send(integers, level) {
    this.startedAt ??= performance.now() - (1000 * integers.length) / this.microphone.sampleRate;
    this.realtime.append(integers);
    this.#levels = [...this.#levels.slice(1), level];
  }

  /** Close the microphone; the words of its last audio still come. */
  stop() {
    this.microphone.close();
    this.recording = this.microphone.toFile(recordingName());
    this.microphone = null;
    this.realtime.commit();
    this.#closeAfter(CLOSE_AFTER_MS);
    clearInterval(this.timer);
    this.#renderState();
    announce("stopped");
  }

  #closeAfter(milliseconds) {
    clearTimeout(this.closing);
    this.closing = setTimeout(() => this.realtime.close(), milliseconds);
  }

  #closed(event) {
    clearTimeout(this.closing);
    this.#tail.remove();
    if (!this.microphone) return;
    this.stop();
    this.#fail(event.reason || "The server closed the connection.");
  }

  #commit({ item_id: id, delta, words }) {
    if (!delta) return;
    this.#tail.remove();
    this.#paragraph(id).append(el("span", {}, delta));
    this.#measure(words?.at(-1)?.end);
    this.#scroll();
  }

  #paragraph(id) {
    if (!this.#paragraphs.has(id)) {
      for (const paragraph of this.#paragraphs.values()) paragraph.classList.add("older");
      this.#paragraphs.set(id, el("p", {}));
      byId("captions").append(this.#paragraphs.get(id));
    }
    return this.#paragraphs.get(id);
  }

  #showTail({ item_id: id, text }) {
    if (!id) return; // of an utterance that is over
    this.#tail.textContent = text;
    this.#paragraph(id).append(this.#tail);
    this.#scroll();
  }

  #complete({ item_id: id, transcript }) {
    this.#tail.remove();
    const paragraph = this.#paragraphs.get(id);
    if (!paragraph?.textContent) this.#commit({ item_id: id, delta: transcript });
    if (!this.microphone) this.#closeAfter(CLOSE_AFTER_LAST_MS);
  }

  #measure(end) {
    if (end === undefined || !this.startedAt) return;
    const delay = (performance.now() - this.startedAt) / 1000 - end;
    this.#delays = [...this.#delays.slice(1 - N_DELAYS), delay];
    const median = this.#delays.toSorted((a, b) => a - b)[this.#delays.length >> 1];
    const isLate = delay > LATE_S;
    byId("latency").hidden = false;
    byId("latency").classList.toggle("warning", isLate);
    setText(byId("latency"), isLate ? `behind by ${delay.toFixed(0)} s` : `words after ${Math.max(0, median).toFixed(1)} s`);
  }

  #scroll() {
    const scroller = byId("live-scroller");
    const isAtEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 200;
    if (isAtEnd) scroller.scrollTop = scroller.scrollHeight;
  }

  #renderState() {
    const isOpen = Boolean(this.microphone);
    setText(byId("live-toggle"), isOpen ? "Stop" : "Start");
    byId("live-toggle").classList.toggle("is-playing", isOpen);
    byId("live-dot").hidden = !isOpen;
    byId("live-language").disabled = isOpen;
    this.#enableResults();
  }

  #enableResults() {
    byId("live-copy").disabled = !byId("captions").textContent;
    byId("live-keep").disabled = Boolean(this.microphone) || !this.recording;
  }

  #renderTime() {
    setText(byId("live-time"), clock(this.microphone?.seconds ?? 0));
    byId("live-copy").disabled = !byId("captions").textContent;
    const canvas = byId("level");
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.fillStyle = getComputedStyle(canvas).color;
    this.#levels.forEach((level, index) => {
      const height = Math.max(3, Math.min(1, level * 6) * canvas.height);
      context.fillRect(index * 8, canvas.height - height, 5, height);
    });
  }

  #fail(message) {
    byId("live-empty").hidden = false;
    byId("live-empty").replaceChildren(el("p", { class: "warning" }, message));
    announce(message);
    if (this.microphone) this.stop();
  }

  #resize(by) {
    this.#size = Math.max(0, Math.min(SIZES_REM.length - 1, this.#size + by));
    byId("live").style.setProperty("--size", `${SIZES_REM[this.#size]}rem`);
  }

  async #copy() {
    const text = [...byId("captions").children].map((paragraph) => paragraph.textContent.trim()).join("\n\n");
    await navigator.clipboard.writeText(text).then(() => announce("copied"), () => announce("the browser refused to copy"));
  }

  #key(event) {
    if (document.body.dataset.view !== "live" || event.key !== " " || isTyping(event.target) || event.target.closest("button")) return;
    event.preventDefault();
    byId("live-toggle").click();
  }
}
