"""Audio of a realtime session: PCM of any usual rate, or G.711, to float32 at 16 kHz."""

from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ

MIN_RATE_HZ, MAX_RATE_HZ = 8_000, 48_000
TELEPHONE_RATE_HZ = 8_000
PCM16_SCALE = 32_768

Samples = NDArray[np.float32]


class AudioFormat(StrEnum):
    """How samples are stored, in OpenAI's names."""

    PCM = "audio/pcm"
    PCMU = "audio/pcmu"
    PCMA = "audio/pcma"


class AudioDecoder:
    """Decodes a stream, however it is cut."""

    def __init__(self, kind: AudioFormat, rate_hz: int) -> None:
        """Start a stream.

        Args:
            kind: of the samples: PCM has 16 bits, little-endian, one channel.
            rate_hz: of PCM; G.711 has 8 kHz.
        """
        import soxr

        self._table = None if kind is AudioFormat.PCM else _TABLES[kind]
        self._rest = b""
        rate_hz = rate_hz if kind is AudioFormat.PCM else TELEPHONE_RATE_HZ
        self._resampler: Any = None
        if rate_hz != SAMPLE_RATE_HZ:
            self._resampler = soxr.ResampleStream(rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32")

    def decode(self, content: bytes, *, is_last: bool = False) -> Samples:
        """Return the samples that some bytes complete; at the end also those that the resampler holds back.

        Returns:
            float32, shape (n_samples,), 16 kHz.
        """
        samples = self._samples(content)
        if self._resampler is None:
            return samples
        resampled: Samples = self._resampler.resample_chunk(samples, last=is_last)
        return resampled

    def _samples(self, content: bytes) -> Samples:
        if self._table is not None:
            return self._table[np.frombuffer(content, np.uint8)]
        content = self._rest + content
        n_bytes = len(content) // 2 * 2
        self._rest = content[n_bytes:]
        return np.frombuffer(content[:n_bytes], "<i2").astype(np.float32) / np.float32(PCM16_SCALE)


def _mu_law() -> Samples:
    """Return the sample of each byte of µ-law (ITU-T G.711)."""
    code = ~np.arange(256, dtype=np.uint8)
    exponent, mantissa = (code >> 4 & 7).astype(np.int32), (code & 15).astype(np.int32)
    size = ((mantissa << 3) + 132 << exponent) - 132
    return (np.where(code & 128, -size, size) / PCM16_SCALE).astype(np.float32)


def _a_law() -> Samples:
    """Return the sample of each byte of A-law (ITU-T G.711)."""
    code = np.arange(256, dtype=np.uint8) ^ 0x55
    exponent, mantissa = (code >> 4 & 7).astype(np.int32), (code & 15).astype(np.int32)
    size = np.where(exponent, (mantissa << 4) + 264 << np.maximum(exponent - 1, 0), (mantissa << 4) + 8)
    return (np.where(code & 128, size, -size) / PCM16_SCALE).astype(np.float32)


_TABLES = {AudioFormat.PCMU: _mu_law(), AudioFormat.PCMA: _a_law()}
