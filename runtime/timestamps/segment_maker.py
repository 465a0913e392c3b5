"""From what a window gave to segments: texts, times, words."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.clock import PhaseClock
from sottovoce.runtime.decoding.tokenizer import Tokens, WhisperTokenizer
from sottovoce.runtime.decoding.window_decoder import DecodingContext, DecodingResult
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.timestamps.alignment import Aligner
from sottovoce.runtime.timestamps.segments import TimestampedTokens, split_by_timestamps
from sottovoce.runtime.timestamps.sentences import split_into_sentences
from sottovoce.runtime.timestamps.words import to_word
from sottovoce.runtime.transcript import Phase, Segment, Task, Word
from sottovoce.runtime.vad.segmenter import AudioWindow


class SegmentMaker:
    """Makes the segments of windows; loads what places words when it is first needed."""

    def __init__(self, folder: Path, compute: ComputeSpec, tokenizer: WhisperTokenizer) -> None:
        self._folder = folder
        self._compute = compute
        self._tokenizer = tokenizer

    @cached_property
    def _aligner(self) -> Aligner:
        return Aligner.load(self._folder, self._compute, self._tokenizer)

    def pieces(self, window: AudioWindow, heard: DecodingResult) -> tuple[TimestampedTokens, ...]:
        """Cut a window's tokens at their timestamps."""
        window_s = len(window.wave) / SAMPLE_RATE_HZ
        return split_by_timestamps(heard.attempt.tokens, self._tokenizer.special, window_s)

    def segments(
        self,
        window: AudioWindow,
        pieces: Sequence[TimestampedTokens],
        heard: DecodingResult,
        asked: DecodingContext,
        clock: PhaseClock,
    ) -> list[Segment]:
        """Return the segments of a window's pieces, with words where they are asked for."""
        segments = [
            self._segment(heard, piece.tokens, window.start_s + piece.start_s, window.start_s + piece.end_s)
            for piece in pieces
        ]
        if segments and asked.are_times_aligned:
            return self._sentences(window, segments[0].tokens, heard, asked, clock)
        if asked.options.word_timestamps and segments:
            return self._with_words(window, segments, heard, asked, clock)
        return segments

    def _segment(
        self,
        heard: DecodingResult,
        tokens: Tokens,
        start_s: float,
        end_s: float,
        words: tuple[Word, ...] = (),
    ) -> Segment:
        return Segment(
            start_s=start_s,
            end_s=end_s,
            text=self._tokenizer.text(tokens).strip(),
            tokens=tokens,
            mean_log_probability=heard.attempt.mean_log_probability,
            no_speech_probability=heard.attempt.no_speech_probability,
            compression_ratio=heard.compression_ratio,
            temperature=heard.attempt.temperature,
            words=words,
        )

    def _sentences(
        self,
        window: AudioWindow,
        tokens: Tokens,
        heard: DecodingResult,
        asked: DecodingContext,
        clock: PhaseClock,
    ) -> list[Segment]:
        """Place the words of a text without timestamps, and cut it into sentences."""
        with clock.time(Phase.ALIGNMENT):
            spans = self._aligner.word_timings(
                heard.encoded,
                self._plain_prompt(asked),
                tokens,
                language=_written(asked),
                n_samples=len(window.wave),
            )
        probabilities = self._probabilities(heard)
        has_words = asked.options.word_timestamps
        return [
            self._segment(
                heard,
                tokens[sentence[0].first_token : sentence[-1].end_token],
                window.start_s + sentence[0].start_s,
                window.start_s + sentence[-1].end_s,
                tuple(_moved(to_word(span, probabilities), window.start_s) for span in sentence)
                if has_words
                else (),
            )
            for sentence in split_into_sentences(spans)
        ]

    def _plain_prompt(self, asked: DecodingContext) -> Tokens:
        return self._tokenizer.prompt(
            language=asked.detected.language, task=asked.options.task, with_timestamps=False
        )

    def _probabilities(self, heard: DecodingResult) -> list[float]:
        """Return the probability of each text token."""
        end = self._tokenizer.special.end
        logs = zip(heard.attempt.tokens, heard.attempt.log_probabilities, strict=True)
        return [math.exp(log) for token, log in logs if token < end]

    def _with_words(
        self,
        window: AudioWindow,
        segments: Sequence[Segment],
        heard: DecodingResult,
        asked: DecodingContext,
        clock: PhaseClock,
    ) -> list[Segment]:
        """Place the words; segments that the model gave no times get those of their words."""
        texts = [segment.tokens for segment in segments]
        with clock.time(Phase.ALIGNMENT):
            placed = self._aligner.align(
                heard.encoded,
                self._plain_prompt(asked),
                segments=texts,
                probabilities=self._probabilities(heard)[: sum(map(len, texts))],
                language=_written(asked),
                n_samples=len(window.wave),
            )
        return [
            _with_times(segment, words, window.start_s, keep=asked.options.with_timestamps)
            for segment, words in zip(segments, placed, strict=True)
        ]


def _with_times(segment: Segment, words: Sequence[Word], offset_s: float, *, keep: bool) -> Segment:
    moved = tuple(_moved(word, offset_s) for word in words)
    if keep or not moved:
        return replace(segment, words=moved)
    return replace(segment, words=moved, start_s=moved[0].start_s, end_s=moved[-1].end_s)


def _moved(word: Word, by_s: float) -> Word:
    return replace(word, start_s=word.start_s + by_s, end_s=word.end_s + by_s)


def _written(asked: DecodingContext) -> str:
    """Return the language of the text."""
    return "en" if asked.options.task is Task.TRANSLATE else asked.detected.language
