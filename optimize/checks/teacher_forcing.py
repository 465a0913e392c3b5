"""Compare a variant with the baseline token by token, by teacher forcing.

Two variants that decode freely part at the first token on which they differ, and no later token can be compared. So
the baseline generates tokens first, and the variant is fed those: at each position both give probabilities of the next
token. A clip gives some thirty comparisons that do not depend on each other, where its word errors give one or two.

The divergence is that of the variant's distribution from the baseline's (Kullback and Leibler 1951).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sottovoce.progress import Reporter
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import Wave
from sottovoce.runtime.audio.features import Features
from sottovoce.runtime.decoding.attempt import prefill, token_limit
from sottovoce.runtime.decoding.logit_filters import LogitFilters, Row, log_sum_exp
from sottovoce.runtime.decoding.strategies import Greedy
from sottovoce.runtime.decoding.tokenizer import Tokens, WhisperTokenizer
from sottovoce.runtime.model.base import Decoder, Encoded, States
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.encoder import Encoder
from sottovoce.runtime.model.load import load_decoder
from sottovoce.runtime.transcript import Task
from sottovoce.speech.loading import LoadedClip

N_LIKELIEST = 64
"""Tokens of a position that are compared one by one; all others count as one. All 52,000 would take 6 MB for each clip."""

LogProbabilities = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TeacherSequence:
    """The baseline's tokens for a clip, and how likely each was.

    Attributes:
        wave: float32, shape (n_samples,), 16 kHz, at most 30 s.
        tokens: after the prompt, with the end token.
        likeliest: int64, shape (n_tokens, 64); the likeliest tokens of each position, likeliest first.
        log_probabilities: float32, same shape; natural logarithms.
        start_likeliest: int64, shape (64,); the likeliest tokens after the start-of-transcript token, which are languages
            and no speech.
        start_log_probabilities: float32, same shape.
    """

    clip_id: str
    wave: Wave
    prompt: Tokens
    tokens: Tokens
    likeliest: NDArray[np.int64]
    log_probabilities: LogProbabilities
    start_likeliest: NDArray[np.int64]
    start_log_probabilities: LogProbabilities


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipComparison:
    """How a variant agrees with the baseline on one clip.

    Attributes:
        n_disagreements: positions where the variant's likeliest token is another.
        kl_divergence: sum over the positions, in nats.
        start_divergence: the same after the start-of-transcript token, which gives the language, or no speech.
    """

    clip_id: str
    n_tokens: int
    n_disagreements: int
    kl_divergence: float
    start_divergence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How a variant agrees with the baseline."""

    clips: tuple[ClipComparison, ...]

    @property
    def n_tokens(self) -> int:
        """Positions compared."""
        return sum(clip.n_tokens for clip in self.clips)

    @property
    def top1_disagreement(self) -> float:
        """Share of the positions where the variant's likeliest token is another."""
        return sum(clip.n_disagreements for clip in self.clips) / max(1, self.n_tokens)

    @property
    def kl_divergence(self) -> float:
        """Mean over the positions, in nats."""
        return sum(clip.kl_divergence for clip in self.clips) / max(1, self.n_tokens)

    @property
    def start_divergence(self) -> float:
        """Mean over the clips, after the start-of-transcript token, in nats."""
        return sum(clip.start_divergence for clip in self.clips) / max(1, len(self.clips))


class Candidate:
    """A variant that generates tokens, or is scored on those of another."""

    def __init__(self, encoder: Encoder, decoder: Decoder, tokenizer: WhisperTokenizer) -> None:
        self._encoder = encoder
        self._decoder = decoder
        self._tokenizer = tokenizer
        self._filters = LogitFilters(tokenizer.special, with_timestamps=False)

    @classmethod
    def load(cls, folder: Path, compute: ComputeSpec) -> "Candidate":
        """Load a variant in the runtime.

        Raises:
            InputError: the folder holds no variant.
        """
        return cls(
            Encoder.load(folder, compute), load_decoder(folder, compute), WhisperTokenizer.load(folder)
        )

    @property
    def is_multilingual(self) -> bool:
        """Whether the model knows other languages than English."""
        return self._tokenizer.is_multilingual

    def encode(self, wave: Wave) -> tuple[Features, States]:
        """Return the features of a wave, and a copy of the encoder's output."""
        plan = self._encoder.plan(len(wave))
        features = self._encoder.features(wave, plan)
        return features, self._encoder.run(features).copy()

    def generate(self, clip: LoadedClip) -> TeacherSequence:
        """Transcribe a clip greedily, without timestamps."""
        return self.generate_from(self.encode_window(clip.wave), clip)

    def generate_from(self, encoded: Encoded, clip: LoadedClip) -> TeacherSequence:
        """Transcribe a clip from what `encode_window` gave for its wave."""
        prompt = self._prompt(clip.clip.language)
        tokens = (*self._decode(encoded, prompt, clip.wave), self._tokenizer.special.end)
        (start_likeliest, start_logs), *found = map(find_likeliest, self._rows(encoded, prompt, tokens))
        likeliest, logs = zip(*found, strict=True)
        return TeacherSequence(
            clip_id=clip.clip.clip_id,
            wave=clip.wave,
            prompt=prompt,
            tokens=tokens,
            likeliest=np.stack(likeliest),
            log_probabilities=np.stack(logs),
            start_likeliest=start_likeliest,
            start_log_probabilities=start_logs,
        )

    def score(self, teacher: TeacherSequence) -> ClipComparison:
        """Feed the baseline's tokens, and compare the probabilities at each position."""
        encoded = self.encode_window(teacher.wave)
        n_disagreements, divergence = 0, 0.0
        rows = self._rows(encoded, teacher.prompt, teacher.tokens)
        start = kl_divergence(next(rows), teacher.start_likeliest, teacher.start_log_probabilities)
        for i, row in enumerate(rows):
            n_disagreements += int(row.argmax()) != int(teacher.likeliest[i, 0])
            divergence += kl_divergence(row, teacher.likeliest[i], teacher.log_probabilities[i])
        return ClipComparison(
            clip_id=teacher.clip_id,
            n_tokens=len(teacher.tokens),
            n_disagreements=n_disagreements,
            kl_divergence=divergence,
            start_divergence=start,
        )

    def transcribe(self, teacher: TeacherSequence) -> str:
        """Transcribe a clip as the baseline did: greedily, without timestamps."""
        return self.text_of(self._decode(self.encode_window(teacher.wave), teacher.prompt, teacher.wave))

    def text_of(self, tokens: Tokens) -> str:
        """Turn tokens into text."""
        return self._tokenizer.text(tokens)

    def _decode(self, encoded: Encoded, prompt: Tokens, wave: Wave) -> Tokens:
        """Return the likeliest tokens after a prompt, without the end token."""
        self._decoder.start(encoded)
        prefilled = prefill(self._decoder, prompt, self._tokenizer.special)
        limit = token_limit(len(wave) / SAMPLE_RATE_HZ, prompt)
        (attempt,) = Greedy().decode(self._decoder, prefilled, self._filters, [limit])
        return attempt.tokens

    def _prompt(self, language: str | None) -> Tokens:
        known = language if language in self._tokenizer.special.languages else "en"
        return self._tokenizer.prompt(language=known, task=Task.TRANSCRIBE, with_timestamps=False)

    def encode_window(self, wave: Wave) -> Encoded:
        """Encode a wave of at most 30 s, with what stands for its padding."""
        plan = self._encoder.plan(len(wave))
        return self._encoder.encode(self._encoder.features(wave, plan), plan)

    def _rows(self, encoded: Encoded, prompt: Tokens, tokens: Tokens) -> Iterator[Row]:
        """Yield the logits after the start-of-transcript token, then those of each token, filtered.

        A row is valid until the next one.
        """
        self._decoder.start(encoded)
        logits = self._logits(prompt, tokens[:-1])
        yield next(logits)
        for i, row in enumerate(logits):
            self._filters.apply(row, tokens[:i])
            yield row

    def _logits(self, prompt: Tokens, tokens: Tokens) -> Iterator[Row]:
        """Yield the logits after the start-of-transcript token, after the prompt and after each token.

        It takes one pass where the decoder takes several tokens.
        """
        start = prompt.index(self._tokenizer.special.start)
        fed = prompt + tokens if self._decoder.can_continue else prompt
        rows = self._decoder.run(np.array([fed], dtype=np.int64))[0]
        yield rows[start]
        yield from rows[len(prompt) - 1 :]
        for token in () if self._decoder.can_continue else tokens:
            yield self._decoder.run(np.array([[token]], dtype=np.int64))[0, -1]


def find_likeliest(row: Row) -> tuple[NDArray[np.int64], LogProbabilities]:
    """Return the 64 likeliest tokens of a position, likeliest first, and the natural logarithms of their probabilities."""
    top = np.argpartition(row, -N_LIKELIEST)[-N_LIKELIEST:]
    top = top[np.argsort(-row[top], kind="stable")]
    return top.astype(np.int64), (row[top] - log_sum_exp(row)).astype(np.float32)


def kl_divergence(row: Row, likeliest: NDArray[np.int64], log_probabilities: LogProbabilities) -> float:
    """Return the divergence of a variant's distribution from the baseline's at one position.

    Args:
        row: the variant's logits, shape (n_vocabulary,).
        likeliest: the baseline's likeliest tokens, shape (n,).
        log_probabilities: the baseline's, of those tokens, shape (n,).

    Returns:
        Nats, over those tokens and all others as one: not below 0 except by rounding, and not above the divergence
        over the whole vocabulary.
    """
    is_possible = np.isfinite(log_probabilities)
    logs = log_probabilities[is_possible].astype(np.float64)
    found_logs = row[likeliest[is_possible]].astype(np.float64) - log_sum_exp(row)
    expected = np.exp(logs)
    among = float((expected * (logs - found_logs)).sum())
    rest, found_rest = 1.0 - expected.sum(), 1.0 - np.exp(found_logs).sum()
    if rest <= SMALLEST_REST:
        return among
    return among + float(rest * np.log(rest / max(found_rest, SMALLEST_REST)))


SMALLEST_REST = 1e-7
"""Less than this is rounding of the sum of the others."""


def generate_teachers(
    baseline: Candidate, clips: Sequence[LoadedClip], reporter: Reporter
) -> tuple[TeacherSequence, ...]:
    """Let the baseline transcribe the clips."""
    teachers = []
    with reporter.progress("transcribe with the baseline", len(clips)) as advance:
        for clip in clips:
            teachers.append(baseline.generate(clip))
            advance()
    return tuple(teachers)


def compare(candidate: Candidate, teachers: Iterable[TeacherSequence]) -> Comparison:
    """Score a variant on the baseline's tokens."""
    return Comparison(clips=tuple(candidate.score(teacher) for teacher in teachers))
