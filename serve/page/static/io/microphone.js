// The microphone at its native rate, and a recording of it as a WAV file.

import { toInt16, wavHeader } from "../logic/pcm.js";

const SILENT_START_MS = 2000; // without a block by then, the browser delivers nothing

/** An open microphone. */
export class Microphone {
  #parts = [];
  #nSamples = 0;

  /**
   * Open the microphone.
   *
   * onSamples gets blocks of 16-bit integers and their level, 0 to 1; onSilence is called where no block arrives.
   * Rejects with a sentence where the browser has no microphone or the user refused it.
   */
  static async open({ onSamples, onSilence }) {
    if (!navigator.mediaDevices) throw new Error("A browser gives the microphone to pages of https or localhost only.");
    const microphone = new Microphone();
    try {
      microphone.stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } });
    } catch (error) {
      throw new Error(explain(error), { cause: error });
    }
    microphone.context = new AudioContext();
    await microphone.context.audioWorklet.addModule(new URL("capture-worklet.js", import.meta.url));
    const node = new AudioWorkletNode(microphone.context, "capture", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
    node.port.onmessage = ({ data }) => microphone.#receive(data, onSamples);
    microphone.context.createMediaStreamSource(microphone.stream).connect(node);
    await microphone.context.resume();
    microphone.watch = setTimeout(() => microphone.#nSamples || onSilence?.(), SILENT_START_MS);
    return microphone;
  }

  get sampleRate() {
    return this.context.sampleRate;
  }

  /** Seconds of audio so far. */
  get seconds() {
    return this.#nSamples / this.sampleRate;
  }

  #receive(block, onSamples) {
    if (this.isClosed) return;
    const integers = toInt16(block);
    this.#nSamples += integers.length;
    this.#parts.push(integers);
    if (this.#parts.length >= 100) this.#parts = [new Blob(this.#parts)]; // browsers move large blobs to the disk
    onSamples?.(integers, Math.sqrt(block.reduce((sum, sample) => sum + sample * sample, 0) / block.length));
  }

  /** Close the microphone. */
  close() {
    this.isClosed = true;
    clearTimeout(this.watch);
    for (const track of this.stream.getTracks()) track.stop();
    this.context.close();
  }

  /** Return the recording. */
  toFile(name) {
    return new File([wavHeader(this.#nSamples, this.sampleRate), ...this.#parts], name, { type: "audio/wav" });
  }
}

function explain(error) {
  if (error.name === "NotAllowedError") return "The browser refused the microphone. Allow it for this page and try again.";
  if (error.name === "NotFoundError") return "There is no microphone.";
  return `The microphone cannot be opened: ${error.message}`;
}

/** Return "recording 2026-11-29 14.05.wav". */
export function recordingName(date = new Date()) {
  const pad = (number) => String(number).padStart(2, "0");
  return `recording ${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())} ${pad(date.getHours())}.${pad(date.getMinutes())}.wav`;
}
