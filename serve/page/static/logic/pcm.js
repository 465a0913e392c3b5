// Samples as 16-bit PCM, for WAV files and for the realtime API.

const HEADER_BYTES = 44;

/** Return samples in -1 to 1 as 16-bit integers. */
export function toInt16(samples) {
  return Int16Array.from(samples, (sample) => Math.round(Math.max(-1, Math.min(1, sample)) * 32767));
}

/** Return the base64 of little-endian 16-bit integers. */
export function toBase64(integers) {
  const bytes = new Uint8Array(integers.buffer, integers.byteOffset, integers.byteLength);
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(text);
}

/** Return the header of a WAV file of one channel, as bytes. */
export function wavHeader(nSamples, sampleRate) {
  const header = new DataView(new ArrayBuffer(HEADER_BYTES));
  const ascii = (at, text) => [...text].forEach((char, index) => header.setUint8(at + index, char.charCodeAt(0)));
  ascii(0, "RIFF");
  header.setUint32(4, HEADER_BYTES - 8 + 2 * nSamples, true);
  ascii(8, "WAVEfmt ");
  header.setUint32(16, 16, true);
  header.setUint16(20, 1, true);
  header.setUint16(22, 1, true);
  header.setUint32(24, sampleRate, true);
  header.setUint32(28, 2 * sampleRate, true);
  header.setUint16(32, 2, true);
  header.setUint16(34, 16, true);
  ascii(36, "data");
  header.setUint32(40, 2 * nSamples, true);
  return new Uint8Array(header.buffer);
}
