// The audio of a file as the browser decodes it: its length and its peaks.

import { normalized, peaksOf, peaksOfWords } from "../logic/peaks.js";

const MAX_DECODED_S = 30 * 60; // the browser decodes at the file's rate: half an hour of stereo takes 700 MB for a moment
const DECODED_RATE = 8000;
export const N_PEAKS = 400;

/** Return the length of audio in seconds, or null where the browser cannot play it. */
export function lengthOf(blob) {
  return new Promise((resolve) => {
    const audio = new Audio();
    const finish = (seconds) => {
      URL.revokeObjectURL(audio.src);
      resolve(Number.isFinite(seconds) && seconds > 0 ? seconds : null);
    };
    audio.onloadedmetadata = () => finish(audio.duration);
    audio.onerror = () => finish(null);
    audio.preload = "metadata";
    audio.src = URL.createObjectURL(blob);
  });
}

/** Return peaks of a file, 0 to 1; those of the words where the file is long or the browser cannot decode it. */
export async function loadPeaks(blob, { duration, paragraphs }) {
  if (blob && duration <= MAX_DECODED_S) {
    try {
      const context = new OfflineAudioContext(1, 1, DECODED_RATE);
      const audio = await context.decodeAudioData(await blob.arrayBuffer());
      return normalized(peaksOf(audio.getChannelData(0), N_PEAKS));
    } catch {
      // a format that the browser does not know
    }
  }
  return peaksOfWords(paragraphs, Math.max(duration, 1), N_PEAKS);
}
