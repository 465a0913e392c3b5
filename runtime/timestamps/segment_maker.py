"""From the tokens of a window to its segments: texts, times, words."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.decoding.context import DecodingContext
from sottovoce.runtime.decoding.tokenizer import Tokens, WhisperTokenizer
from sottovoce.runtime.decoding.window_decoder import DecodingResult
from sottovoce.runtime.timestamps.alignment import Aligner
from sottovoce.runtime.timestamps.segments import TimestampedTokens, split_by_timestamps
from sottovoce.runtime.timestamps.sentences import split_into_sentences
from sottovoce.runtime.timestamps.words import to_word
from sottovoce.runtime.transcript import Phase, Segment, Task, Word
from sottovoce.runtime.vad.segmenter import AudioWindow


class SegmentMaker:
    """Makes the segments of windows; `aligner` is None where a variant has no alignment."""

    def __init__(self, tokenizer: WhisperTokenizer, aligner: Aligner | None) -> None:
        self._tokenizer = tokenizer
        self._aligner = aligner

    @property
    def can_align(self) -> bool:
        """Whether words can be given times."""
        return self._aligner is not None

    def split(self, window: AudioWindow, result: DecodingResult) -> tuple[TimestampedTokens, ...]:
        """Split a window's tokens at their timestamps."""
        window_s = len(window.wave) / SAMPLE_RATE_HZ
        return split_by_timestamps(result.attempt.tokens, self._tokenizer.special, window_s)

    def segments(
        self,
        window: AudioWindow,
        pieces: Sequence[TimestampedTokens],
        result: DecodingResult,
        context: DecodingContext,
    ) -> list[Segment]:
        """Return the segments of a window's pieces, with words where the options want them."""
        logs = self._log_probabilities(result)
        ends = accumulate(len(piece.tokens) for piece in pieces)
        segments = [
            self._segment(
                result,
                piece.tokens,
                logs[end - len(piece.tokens) : end],
                window.start_s + piece.start_s,
                window.start_s + piece.end_s,
            )
            for piece, end in zip(pieces, ends, strict=True)
        ]
        if not segments or self._aligner is None:
            return segments
        if context.are_times_aligned:
            return self._sentences(self._aligner, window, segments[0].tokens, result, context)
        if context.options.word_timestamps:
            return self._with_words(self._aligner, window, segments, result, context)
        return segments

    def _segment(
        self,
        result: DecodingResult,
        tokens: Tokens,
        log_probabilities: Sequence[float],
        start_s: float,
        end_s: float,
        words: tuple[Word, ...] = (),
    ) -> Segment:
        return Segment(
            start_s=start_s,
            end_s=end_s,
            text=self._tokenizer.text(tokens).strip(),
            tokens=tokens,
            mean_log_probability=result.attempt.mean_log_probability,
            no_speech_probability=result.attempt.no_speech_probability,
            compression_ratio=result.compression_ratio,
            temperature=result.attempt.temperature,
            words=words,
            log_probabilities=tuple(log_probabilities),
        )

    def _sentences(
        self,
        aligner: Aligner,
        window: AudioWindow,
        tokens: Tokens,
        result: DecodingResult,
        context: DecodingContext,
    ) -> list[Segment]:
        """Give the words of a text without timestamps their times, and cut it into sentences."""
        with context.clock.time(Phase.ALIGNMENT):
            spans = aligner.word_timings(
                result.encoded,
                self._plain_prompt(context),
                tokens,
                language=_text_language(context),
                n_samples=len(window.wave),
            )
        logs = self._log_probabilities(result)
        probabilities = [math.exp(log) for log in logs]
        has_words = context.options.word_timestamps is not False
        return [
            self._segment(
                result,
                tokens[sentence[0].first_token : sentence[-1].end_token],
                logs[sentence[0].first_token : sentence[-1].end_token],
                window.start_s + sentence[0].start_s,
                window.start_s + sentence[-1].end_s,
                tuple(_moved(to_word(span, probabilities), window.start_s) for span in sentence)
                if has_words
                else (),
            )
            for sentence in split_into_sentences(spans)
        ]

    def _with_words(
        self,
        aligner: Aligner,
        window: AudioWindow,
        segments: Sequence[Segment],
        result: DecodingResult,
        context: DecodingContext,
    ) -> list[Segment]:
        """Add words with their times; segments without timestamps get those of their words."""
        texts = [segment.tokens for segment in segments]
        logs = self._log_probabilities(result)[: sum(map(len, texts))]
        with context.clock.time(Phase.ALIGNMENT):
            aligned = aligner.align(
                result.encoded,
                self._plain_prompt(context),
                segments=texts,
                probabilities=[math.exp(log) for log in logs],
                language=_text_language(context),
                n_samples=len(window.wave),
            )
        return [
            _with_times(segment, words, window.start_s, keep=not context.options.without_timestamps)
            for segment, words in zip(segments, aligned, strict=True)
        ]

    def _plain_prompt(self, context: DecodingContext) -> Tokens:
        return self._tokenizer.prompt(
            language=context.detected.language, task=context.options.task, with_timestamps=False
        )

    def _log_probabilities(self, result: DecodingResult) -> list[float]:
        """Return the log-probability of each text token."""
        end = self._tokenizer.special.end
        logs = zip(result.attempt.tokens, result.attempt.log_probabilities, strict=True)
        return [log for token, log in logs if token < end]


def _with_times(segment: Segment, words: Sequence[Word], offset_s: float, *, keep: bool) -> Segment:
    moved = tuple(_moved(word, offset_s) for word in words)
    if keep or not moved:
        return replace(segment, words=moved)
    return replace(segment, words=moved, start_s=moved[0].start_s, end_s=moved[-1].end_s)


def _moved(word: Word, by_s: float) -> Word:
    return replace(word, start_s=word.start_s + by_s, end_s=word.end_s + by_s)


def _text_language(context: DecodingContext) -> str:
    return "en" if context.options.task is Task.TRANSLATE else context.detected.language
