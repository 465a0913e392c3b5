// The player at the foot: own controls over an audio element, and its waveform.

import { loadPeaks } from "../io/audio.js";
import { peaksOf } from "../logic/peaks.js";
import { clock } from "../logic/time.js";
import { announce, byId, setText } from "./dom.js";

const BAR = 3;
const GAP = 2;
const JUMP_S = 5;
const RATES = [0.5, 0.75, 1, 1.25, 1.5, 2];

/** Plays the audio of a job; onTime(seconds, isPlaying) is called for each frame while it plays, and after jumps. */
export class Player {
  #peaks = [];
  #bars = []; // peaks of the drawn bars
  #url = null;

  constructor({ onTime }) {
    this.audio = byId("audio");
    this.canvas = byId("waveform");
    this.onTime = onTime;
    byId("play").addEventListener("click", () => this.toggle());
    byId("rate").addEventListener("change", ({ target }) => this.setRate(Number(target.value)));
    this.canvas.addEventListener("pointerdown", (event) => this.#drag(event));
    this.canvas.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => this.#draw()).observe(this.canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#draw());
    for (const type of ["play", "pause", "ended"]) this.audio.addEventListener(type, () => this.#renderState());
    this.audio.addEventListener("loadedmetadata", () => this.#setDuration());
    this.audio.addEventListener("seeked", () => this.#renderTime());
    this.audio.addEventListener("play", () => this.#tick());
    this.audio.addEventListener("error", () => this.#showUnplayable());
  }

  /** Load the audio of a job; a blob of null leaves the player without sound. */
  async load(blob, { duration, paragraphs }) {
    this.duration = duration || 0;
    this.canPlay = Boolean(blob);
    if (this.#url) URL.revokeObjectURL(this.#url);
    this.#url = blob ? URL.createObjectURL(blob) : null;
    [this.#peaks, this.#bars] = [[], []];
    if (this.#url) this.audio.src = this.#url;
    else this.audio.removeAttribute("src");
    this.audio.playbackRate = Number(byId("rate").value);
    byId("play").disabled = !blob;
    byId("hint").classList.remove("warning");
    setText(byId("hint"), "space plays · click a word to play it, twice to edit · N next doubtful word · ? all keys");
    if (!blob) this.#showUnplayable("The audio is not kept in this browser.");
    this.#renderState();
    this.#renderTime();
    const loading = this.#url;
    const peaks = await loadPeaks(blob, { duration, paragraphs });
    if (loading !== this.#url) return;
    [this.#peaks, this.#bars] = [peaks, []];
    this.#draw();
  }

  get isPlaying() {
    return !this.audio.paused && !this.audio.ended;
  }

  get time() {
    return this.audio.currentTime || 0;
  }

  toggle() {
    if (!this.canPlay) return;
    if (this.isPlaying) this.audio.pause();
    else this.audio.play().catch(() => {});
  }

  pause() {
    this.audio.pause();
  }

  /** Go to a time, and play from there if wanted. */
  seek(seconds, { plays = false } = {}) {
    if (!this.canPlay) return;
    this.audio.currentTime = Math.max(0, Math.min(seconds, this.duration - 0.01));
    if (plays) this.audio.play().catch(() => {});
  }

  jump(seconds) {
    this.seek(this.time + seconds);
  }

  /** Play slower or faster by a step. */
  step(by) {
    const index = RATES.indexOf(this.audio.playbackRate);
    this.setRate(RATES[Math.max(0, Math.min(RATES.length - 1, index + by))]);
    announce(`speed ${this.audio.playbackRate}x`);
  }

  setRate(rate) {
    this.audio.playbackRate = rate;
    byId("rate").value = String(rate);
  }

  #setDuration() {
    if (Number.isFinite(this.audio.duration)) this.duration ||= this.audio.duration;
    this.#renderTime();
  }

  #tick() {
    this.#renderTime();
    if (this.isPlaying) requestAnimationFrame(() => this.#tick());
  }

  #renderState() {
    byId("play").setAttribute("aria-label", this.isPlaying ? "Pause" : "Play");
    byId("play").classList.toggle("is-playing", this.isPlaying);
  }

  #renderTime() {
    setText(byId("time"), clock(this.time));
    setText(byId("total"), clock(this.duration));
    this.canvas.setAttribute("aria-valuemax", Math.round(this.duration));
    this.canvas.setAttribute("aria-valuenow", Math.round(this.time));
    this.canvas.setAttribute("aria-valuetext", `${clock(this.time)} of ${clock(this.duration)}`);
    this.#draw();
    this.onTime(this.time, this.isPlaying);
  }

  #showUnplayable(reason = "This browser cannot play the file's format; its transcript is complete.") {
    this.canPlay = false;
    byId("play").disabled = true;
    byId("hint").classList.add("warning");
    setText(byId("hint"), reason);
  }

  #drag(event) {
    const toTime = ({ clientX }) => {
      const box = this.canvas.getBoundingClientRect();
      return ((clientX - box.left) / box.width) * this.duration;
    };
    const move = (moved) => this.seek(toTime(moved));
    this.canvas.setPointerCapture(event.pointerId);
    this.canvas.addEventListener("pointermove", move);
    this.canvas.addEventListener("pointerup", () => this.canvas.removeEventListener("pointermove", move), { once: true });
    move(event);
  }

  #key(event) {
    const steps = { ArrowLeft: -JUMP_S, ArrowRight: JUMP_S, ArrowDown: -JUMP_S, ArrowUp: JUMP_S, PageDown: -60, PageUp: 60, Home: -Infinity, End: Infinity };
    if (!(event.key in steps)) return;
    event.preventDefault();
    this.jump(steps[event.key]);
  }

  #draw() {
    const scale = devicePixelRatio || 1;
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight];
    if (!width) return;
    if (this.canvas.width !== Math.round(width * scale)) this.canvas.width = Math.round(width * scale);
    if (this.canvas.height !== Math.round(height * scale)) this.canvas.height = Math.round(height * scale);
    const context = this.canvas.getContext("2d");
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    const style = getComputedStyle(this.canvas);
    const [played, rest] = [style.getPropertyValue("--played"), style.getPropertyValue("--unplayed")];
    const n = Math.floor(width / (BAR + GAP));
    if (this.#bars.length !== n) this.#bars = peaksOf(this.#peaks, n);
    for (const [index, peak] of this.#bars.entries()) {
      const size = Math.max(BAR, peak ** 0.8 * (height - 4));
      context.fillStyle = index / n < this.time / (this.duration || 1) ? played : rest;
      context.beginPath();
      context.roundRect(index * (BAR + GAP), (height - size) / 2, BAR, size, BAR / 2);
      context.fill();
    }
  }
}
