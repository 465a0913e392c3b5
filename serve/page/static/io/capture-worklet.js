// Runs in the audio thread: sends the microphone's samples in blocks of a tenth of a second.

class Capture extends AudioWorkletProcessor {
  #block = new Float32Array(Math.round(sampleRate / 10));
  #filled = 0;

  process([[channel]]) {
    if (!channel) return true;
    for (let at = 0; at < channel.length;) {
      const n = Math.min(channel.length - at, this.#block.length - this.#filled);
      this.#block.set(channel.subarray(at, at + n), this.#filled);
      this.#filled += n;
      at += n;
      if (this.#filled === this.#block.length) {
        this.port.postMessage(this.#block.slice());
        this.#filled = 0;
      }
    }
    return true;
  }
}

registerProcessor("capture", Capture);
