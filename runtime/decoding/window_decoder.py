"""Windows of at most 30 s to tokens: encode, decode, and decode again what went wrong."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count

import numpy as np

from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ, WINDOW_POSITIONS
from sottovoce.runtime.audio.decode import Wave
from sottovoce.runtime.clock import PhaseClock
from sottovoce.runtime.decoding.attempt import Attempt, compression_ratio, prefill, token_limit
from sottovoce.runtime.decoding.context import (
    DecodingContext,
    LanguageProbabilities,
    OnShare,
    ignore_share,
)
from sottovoce.runtime.decoding.logit_filters import LogitFilters, log_sum_exp
from sottovoce.runtime.decoding.strategies import DecodingStrategy, strategies
from sottovoce.runtime.decoding.tokenizer import Tokens, WhisperTokenizer
from sottovoce.runtime.model.base import Decoder, Encoded, Logits, States, TokenArray, stacked
from sottovoce.runtime.model.elastic import FULL_WINDOW, ElasticPlan
from sottovoce.runtime.model.encoder import Encoder
from sottovoce.runtime.model.openvino.huge_pages import start_moving
from sottovoce.runtime.model.openvino.memory import give_back_freed
from sottovoce.runtime.options import TranscribeOptions
from sottovoce.runtime.transcript import Phase
from sottovoce.runtime.vad.segmenter import AudioWindow
from sottovoce.terms import MemoryUse

TOKENS_OF_ANY_WINDOW = 224
"""What openai/whisper lets a window hold, of any length and language (`DecodingOptions.sample_len`)."""

SHORT_TEXT_TOKENS, SHORT_TEXT_NO_SPEECH = 6, 0.625
"""Of noise Whisper makes "you" or "Thank you.", often with a high probability. Short windows of speech have at most 0.62 of
no speech, windows of noise 0.63 and more, mostly over 0.7 (docs/lab-notes.md)."""

HUGE_PAGES_AT_DECODING = 2
"""Not at the first decoding, whose text is wanted soon; a second one shows that more follow."""


ENCODER_SHARE = 0.4
"""Of the time of a batch, about; for progress only."""

EXPECTED_SHARE = 1 / 3
"""Tokens of ordinary speech, by the most that a window can hold."""


class WatchedDecoder:
    """A decoder that reports what share of the expected steps is done."""

    def __init__(self, decoder: Decoder, limits: Sequence[int], on_share: OnShare) -> None:
        self._decoder = decoder
        self._n_expected = max(1.0, EXPECTED_SHARE * max(limits))
        self._on_share = on_share
        self._n_steps = 0
        self.can_continue = decoder.can_continue

    def start(self, encoded: Encoded) -> None:
        """Decode from other states."""
        self._decoder.start(encoded)

    def run(self, tokens: TokenArray, at: Sequence[int] | None = None) -> Logits:
        """Feed tokens, and report the step."""
        logits = self._decoder.run(tokens, at)
        self._n_steps += 1
        self._on_share(ENCODER_SHARE + (1 - ENCODER_SHARE) * min(1.0, self._n_steps / self._n_expected))
        return logits

    def rewind(self, n_tokens: int) -> None:
        """Forget the last tokens."""
        self._decoder.rewind(n_tokens)

    def select(self, rows: Sequence[int]) -> None:
        """Choose the rows to continue."""
        self._decoder.select(rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodingResult:
    """The text of a window.

    Attributes:
        attempt: the decoding that was taken.
        encoded: the encoder states that it was decoded from, a batch of one.
        compression_ratio: of its text.
        is_no_speech: the model takes the window for silence.
        has_repeated: the first decoding repeated itself, whatever was taken in the end.
    """

    attempt: Attempt
    encoded: Encoded
    compression_ratio: float
    is_no_speech: bool
    has_repeated: bool = False


class WindowDecoder:
    """An encoder and a decoder that turn windows into tokens.

    `decodings` counts the calls of all sessions of a model.
    """

    def __init__(
        self,
        encoder: Encoder,
        decoder: Decoder,
        tokenizer: WhisperTokenizer,
        decodings: "count[int] | None" = None,
        *,
        memory: MemoryUse = MemoryUse.NORMAL,
    ) -> None:
        self._encoder = encoder
        self._decoder = decoder
        self._tokenizer = tokenizer
        self._decodings = decodings or count(1)
        self._memory = memory

    def decode(
        self,
        windows: Sequence[AudioWindow],
        prompt: Tokens,
        context: DecodingContext,
        *,
        prefix: Tokens = (),
    ) -> tuple[DecodingResult, ...]:
        """Decode windows, several at once where the first strategy does that.

        Args:
            windows: at most 30 s each.
            prompt: the same for all.
            context: options and clock.
            prefix: start of the text of each window, without timestamps; results have what follows it.
        """
        try:
            return self._decode_all(windows, (*prompt, *prefix), context)
        finally:
            if self._memory is MemoryUse.LOW:
                self._encoder.give_back()
                give_back_freed()

    def _decode_all(
        self, windows: Sequence[AudioWindow], prompt: Tokens, context: DecodingContext
    ) -> tuple[DecodingResult, ...]:
        if next(self._decodings) == HUGE_PAGES_AT_DECODING and self._memory is MemoryUse.NORMAL:
            start_moving()
        encoded = self._encode(windows, context)
        rows = [encoded.row(number) for number in range(len(windows))]
        chosen = strategies(context.options)
        first = chosen[0]
        if first.decodes_batches:
            attempts = self._decode(windows, encoded, prompt, first, context)
        else:
            attempts = tuple(
                self._decode_one(window, row, prompt, first, context)
                for window, row in zip(windows, rows, strict=True)
            )
        results = (
            self._result(attempt, row, context.options) for attempt, row in zip(attempts, rows, strict=True)
        )
        return tuple(
            self._with_fallback(window, result, prompt, chosen, context)
            for window, result in zip(windows, results, strict=True)
        )

    def language_probabilities(
        self, window: AudioWindow, clock: PhaseClock
    ) -> tuple[LanguageProbabilities, AudioWindow]:
        """Return how likely a window of at most 30 s is in each language.

        Returns:
            The probabilities by code, and the window with its encoder states: `decode` does not encode it again.
        """
        special = self._tokenizer.special
        plan = self._encoder.plan(len(window.wave))
        states = self._run_encoder(window.wave, plan, clock).copy()
        with clock.time(Phase.PREFILL):
            self._decoder.start(self._encoder.padded(states, plan))
            row = self._decoder.run(np.array([[special.start]], dtype=np.int64))[0, -1]
        logits = row[np.array(list(special.languages.values()))]
        values = np.exp(logits - log_sum_exp(logits)).tolist()
        return dict(zip(special.languages, values, strict=True)), replace(window, states=states)

    def _encode(self, windows: Sequence[AudioWindow], context: DecodingContext) -> Encoded:
        """Encode windows; all get as many positions as the longest one needs."""
        plans = [self._encoder.plan(len(window.wave), is_alone=len(windows) == 1) for window in windows]
        n_positions = max(plan.n_positions + plan.n_padding for plan in plans)
        encoded = []
        for number, (window, plan) in enumerate(zip(windows, plans, strict=True), start=1):
            encoded.append(self._encode_one(window, plan.filled_to(n_positions), context.clock))
            context.on_share(ENCODER_SHARE * number / len(windows))
        return encoded[0] if len(encoded) == 1 else stacked(encoded)

    def _encode_one(self, window: AudioWindow, plan: ElasticPlan, clock: PhaseClock) -> Encoded:
        states = window.states
        if states is None or states.shape[1] != plan.n_positions:
            states = self._run_encoder(window.wave, plan, clock)
        with clock.time(Phase.ENCODER, 0):
            return self._encoder.padded(states, plan)

    def _run_encoder(self, wave: Wave, plan: ElasticPlan, clock: PhaseClock) -> States:
        with clock.time(Phase.FEATURES):
            features = self._encoder.features(wave, plan)
        with clock.time(Phase.ENCODER):
            return self._encoder.run(features)

    def _decode_one(
        self,
        window: AudioWindow,
        encoded: Encoded,
        prompt: Tokens,
        strategy: DecodingStrategy,
        context: DecodingContext,
    ) -> Attempt:
        unwatched = replace(context, on_share=ignore_share)
        (attempt,) = self._decode([window], encoded, prompt, strategy, unwatched)
        return attempt

    def _decode(
        self,
        windows: Sequence[AudioWindow],
        encoded: Encoded,
        prompt: Tokens,
        strategy: DecodingStrategy,
        context: DecodingContext,
    ) -> tuple[Attempt, ...]:
        special, clock = self._tokenizer.special, context.clock
        with clock.time(Phase.PREFILL):
            self._decoder.start(encoded)
            prefilled = prefill(self._decoder, prompt, special, n_windows=len(windows))
        filters = LogitFilters(
            special,
            with_timestamps=special.no_timestamps not in prompt,
            continues=prompt[-1] < special.end,
            options=context.options,
        )
        limits = [self._limit(window.wave, prompt) for window in windows]
        with clock.time(Phase.DECODE, 0):
            watched = WatchedDecoder(self._decoder, limits, context.on_share)
            attempts = strategy.decode(watched, prefilled, filters, limits)
        clock.count(Phase.DECODE, max(len(attempt.tokens) for attempt in attempts))
        return attempts

    def _limit(self, wave: Wave, prompt: Tokens) -> int:
        least = TOKENS_OF_ANY_WINDOW if self._tokenizer.special.takes_many_tokens(prompt) else 0
        return token_limit(len(wave) / SAMPLE_RATE_HZ, prompt, least=least)

    def _with_fallback(
        self,
        window: AudioWindow,
        result: DecodingResult,
        prompt: Tokens,
        in_order: Sequence[DecodingStrategy],
        context: DecodingContext,
    ) -> DecodingResult:
        """Decode again what looped or is unlikely: with all 30 s encoded, then by the other strategies."""
        options, clock = context.options, context.clock
        first, *others = in_order
        is_partly_encoded = self._encoder.plan(len(window.wave)).n_positions < WINDOW_POSITIONS
        if is_partly_encoded and _repeats(result, options):
            clock.n_redone += 1
            whole = self._encode_one(window, FULL_WINDOW, clock)
            result = self._result(self._decode_one(window, whole, prompt, first, context), whole, options)
        result = replace(result, has_repeated=_repeats(result, options))
        results = [result]
        for strategy in others:
            if not _needs_fallback(results[-1], options):
                break
            clock.n_redone += 1
            attempt = self._decode_one(window, result.encoded, prompt, strategy, context)
            again = self._result(attempt, result.encoded, options)
            results.append(replace(again, has_repeated=result.has_repeated))
        if not _needs_fallback(results[-1], options):
            return results[-1]
        return max(results, key=lambda each: (not _repeats(each, options), each.attempt.mean_log_probability))

    def _result(self, attempt: Attempt, encoded: Encoded, options: TranscribeOptions) -> DecodingResult:
        return DecodingResult(
            attempt=attempt,
            encoded=encoded,
            compression_ratio=compression_ratio(self._tokenizer.text(attempt.tokens)),
            is_no_speech=is_no_speech(attempt, len(self._tokenizer.text_tokens(attempt.tokens)), options),
        )


def is_no_speech(attempt: Attempt, n_text_tokens: int, options: TranscribeOptions) -> bool:
    """Return whether the model takes a window for silence: it says so, and its text is unlikely or short."""
    if _is_unlikely(attempt, options):
        return attempt.no_speech_probability > options.no_speech_threshold
    limit = max(options.no_speech_threshold, SHORT_TEXT_NO_SPEECH)
    return n_text_tokens <= SHORT_TEXT_TOKENS and attempt.no_speech_probability > limit


def _is_unlikely(attempt: Attempt, options: TranscribeOptions) -> bool:
    return attempt.mean_log_probability < options.log_prob_threshold


def _repeats(result: DecodingResult, options: TranscribeOptions) -> bool:
    return result.attempt.has_looped or result.compression_ratio > options.compression_ratio_threshold


def _needs_fallback(result: DecodingResult, options: TranscribeOptions) -> bool:
    is_bad = _is_unlikely(result.attempt, options) or _repeats(result, options)
    return is_bad and not result.is_no_speech
