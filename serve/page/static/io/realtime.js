// Live transcription over the WebSocket of OpenAI's realtime API.

import { toBase64 } from "../logic/pcm.js";
import { address, apiKey } from "./api.js";

const MAX_BUFFERED = 4_000_000; // bytes that wait to be sent: about 30 s of audio

/** A connection; handlers are onDelta, onHypothesis, onCompleted, onError and onClose. */
export class Realtime {
  constructor({ model, language, sampleRate, handlers }) {
    this.handlers = handlers;
    const url = address("v1/realtime?intent=transcription");
    url.protocol = url.protocol.replace("http", "ws");
    const key = apiKey.get();
    this.socket = key ? new WebSocket(url, ["realtime", `openai-insecure-api-key.${key}`]) : new WebSocket(url, ["realtime"]);
    this.socket.onopen = () => this.#send(sessionUpdate({ model, language, sampleRate }));
    this.socket.onmessage = ({ data }) => this.#receive(JSON.parse(data));
    this.socket.onclose = (event) => handlers.onClose(event);
  }

  /** Send a block of 16-bit samples. */
  append(integers) {
    if (this.socket.readyState !== WebSocket.OPEN) return;
    if (this.socket.bufferedAmount > MAX_BUFFERED) this.handlers.onError("The connection is too slow for live audio.");
    this.#send({ type: "input_audio_buffer.append", audio: toBase64(integers) });
  }

  /** Ask for the words of all audio that was sent. */
  commit() {
    this.#send({ type: "input_audio_buffer.commit" });
  }

  close() {
    this.socket.close(1000);
  }

  #send(event) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(event));
  }

  #receive(event) {
    const { onDelta, onHypothesis, onCompleted, onError } = this.handlers;
    switch (event.type) {
      case "conversation.item.input_audio_transcription.delta": return onDelta(event);
      case "conversation.item.input_audio_transcription.completed": return onCompleted(event);
      case "conversation.item.input_audio_transcription.failed": return onError(event.error?.message ?? "A part was not transcribed.");
      case "x_sottovoce.hypothesis": return onHypothesis(event);
      case "error": return onError(event.error.message);
      default: return undefined;
    }
  }
}

function sessionUpdate({ model, language, sampleRate }) {
  const transcription = language ? { model, language } : { model };
  return {
    type: "session.update",
    session: {
      type: "transcription",
      audio: { input: { format: { type: "audio/pcm", rate: sampleRate }, transcription, turn_detection: { type: "server_vad" } } },
      include: ["x_sottovoce.hypothesis"],
    },
  };
}
