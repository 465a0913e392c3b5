"""Decode the utterances of a live stream with a variant, and find when their words are spoken."""

import math
from collections.abc import Sequence
from dataclasses import replace

from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.clock import PhaseClock
from sottovoce.runtime.decoding.attempt import compression_ratio
from sottovoce.runtime.decoding.context import DecodingContext, DetectedLanguage, default_language, likeliest
from sottovoce.runtime.decoding.tokenizer import Tokens
from sottovoce.runtime.decoding.window_decoder import DecodingResult
from sottovoce.runtime.live.hypothesis import Hypothesis, TokenWord
from sottovoce.runtime.live.options import LiveOptions
from sottovoce.runtime.options import TranscribeOptions
from sottovoce.runtime.session import Session
from sottovoce.runtime.timestamps.words import WordTiming, find_word_timings, split_to_word_tokens, to_word
from sottovoce.runtime.transcript import Task, Word
from sottovoce.runtime.vad.segmenter import AudioWindow


class WhisperRecognizer:
    """Decodes with a session of a variant; see `Recognizer`."""

    def __init__(self, session: Session, options: LiveOptions) -> None:
        """Prepare decoding.

        Raises:
            SpecError: the model has no such language or task.
        """
        self._tokenizer = session.tokenizer
        self._decoder = session.window_decoder
        self._aligner = None if options.task is Task.TRANSLATE else session.aligner
        self._task = options.task
        self._hotwords = self._tokenizer.encode(f" {options.hotwords.strip()}") if options.hotwords else ()
        self._last = TranscribeOptions(language=options.language, task=options.task, without_timestamps=True)
        self._first_try = replace(self._last, temperature=0.0)
        self._given = default_language(self._last, is_multilingual=self._tokenizer.is_multilingual)
        self._prompt(self._given)

    @property
    def aligns_well(self) -> bool:
        """Whether words may count as final by their times; without an alignment they are spread over the audio evenly."""
        return self._aligner is not None and self._aligner.is_reliable

    @property
    def language(self) -> DetectedLanguage | None:
        """The language that is given, or the only one; None where it is to be detected."""
        return self._given if self._given.probability else None

    def detect_language(self, window: AudioWindow) -> tuple[DetectedLanguage, AudioWindow]:
        """Detect the language of an utterance; see `Recognizer`."""
        probabilities, window = self._decoder.language_probabilities(window, PhaseClock())
        return likeliest([(probabilities, window.end_s - window.start_s)]), window

    def recognize(
        self, window: AudioWindow, committed: Tokens, language: DetectedLanguage, *, is_last: bool
    ) -> Hypothesis:
        """Decode an utterance; see `Recognizer`."""
        options = self._last if is_last else self._first_try
        context = DecodingContext(options=options, clock=PhaseClock(), detected=language)
        (result,) = self._decoder.decode([window], self._prompt(language), context, prefix=committed)
        tokens = tuple(self._tokenizer.text_tokens(result.attempt.tokens))
        ratio = compression_ratio(self._tokenizer.text((*committed, *tokens)))
        return Hypothesis(
            words=self._words(window, result, committed, tokens, language),
            is_no_speech=result.is_no_speech,
            has_looped=result.attempt.has_looped or ratio > options.compression_ratio_threshold,
            no_speech_probability=result.attempt.no_speech_probability,
            mean_log_probability=result.attempt.mean_log_probability,
            compression_ratio=ratio,
        )

    def _prompt(self, language: DetectedLanguage) -> Tokens:
        return self._tokenizer.prompt(
            language=language.language, task=self._task, with_timestamps=False, previous=self._hotwords
        )

    def _words(
        self,
        window: AudioWindow,
        result: DecodingResult,
        committed: Tokens,
        tokens: Tokens,
        language: DetectedLanguage,
    ) -> tuple[TokenWord, ...]:
        if not tokens:
            return ()
        text_language = "en" if self._task is Task.TRANSLATE else language.language
        n_committed = len(committed)
        every = (*committed, *tokens)
        if self._aligner is not None:
            prompt = self._tokenizer.prompt(
                language=language.language, task=self._task, with_timestamps=False
            )
            timings: Sequence[WordTiming] = self._aligner.word_timings(
                result.encoded, prompt, every, language=text_language, n_samples=len(window.wave)
            )
        else:
            timings = self._spread(window, every, text_language)
        logs = [0.0] * n_committed + [
            log
            for token, log in zip(result.attempt.tokens, result.attempt.log_probabilities, strict=True)
            if token < self._tokenizer.special.end
        ]
        probabilities = [math.exp(log) for log in logs]
        return tuple(
            TokenWord(
                word=_moved(self._continued(timing, every, n_committed), probabilities, window.start_s),
                tokens=every[max(timing.first_token, n_committed) : timing.end_token],
            )
            for timing in timings
            if timing.end_token > n_committed
        )

    def _continued(self, timing: WordTiming, tokens: Tokens, n_committed: int) -> WordTiming:
        """Return what of a word is not committed: a mark may follow a word that is."""
        if timing.first_token >= n_committed:
            return timing
        text = self._tokenizer.text(tokens[n_committed : timing.end_token])
        return replace(timing, text=text, first_token=n_committed, start_s=timing.end_s)

    def _spread(self, window: AudioWindow, tokens: Tokens, language: str) -> Sequence[WordTiming]:
        """Return words whose tokens take the same time each."""
        words = split_to_word_tokens(self._tokenizer, tokens, language)
        token_s = len(window.wave) / SAMPLE_RATE_HZ / len(tokens)
        return find_word_timings([words], [token_s * number for number in range(len(tokens) + 1)])[0]


def _moved(timing: WordTiming, probabilities: Sequence[float], by_s: float) -> Word:
    word = to_word(timing, probabilities)
    return replace(word, start_s=word.start_s + by_s, end_s=word.end_s + by_s)
