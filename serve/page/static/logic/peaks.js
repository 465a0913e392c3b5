// The loudest sample in each part of a wave, 0 to 1.

/** Return n peaks of samples in -1 to 1. */
export function peaksOf(samples, n) {
  return Array.from({ length: n }, (_, index) => {
    const [from, to] = [Math.floor((index * samples.length) / n), Math.floor(((index + 1) * samples.length) / n)];
    let peak = 0;
    for (let at = from; at < to; at += 1) peak = Math.max(peak, Math.abs(samples[at]));
    return peak;
  });
}

/** Return n peaks of audio that the browser cannot decode: where words are spoken. */
export function peaksOfWords(paragraphs, duration, n) {
  const peaks = new Array(n).fill(0.04);
  const words = paragraphs.flatMap((paragraph) => (paragraph.words.length ? paragraph.words : [paragraph]));
  for (const { start, end } of words) {
    const last = Math.min(n - 1, Math.floor((end / duration) * n));
    for (let at = Math.max(0, Math.floor((start / duration) * n)); at <= last; at += 1) peaks[at] = 0.55;
  }
  return peaks;
}

/** Scale peaks so that the loudest fills the height. */
export function normalized(peaks) {
  const top = Math.max(...peaks, 1e-4);
  return peaks.map((peak) => peak / top);
}
