"""Windows of at most 30 s to tokens: encode, decode, and decode again what went wrong."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ, WINDOW_POSITIONS
from sottovoce.runtime.audio.decode import Wave
from sottovoce.runtime.audio.features import log_mel
from sottovoce.runtime.clock import PhaseClock
from sottovoce.runtime.decoding.beam import decode_by_beams
from sottovoce.runtime.decoding.greedy import (
    Attempt,
    PrefillResult,
    compression_ratio,
    decode_batch,
    decode_greedily,
    prefill_batch,
    token_limit,
)
from sottovoce.runtime.decoding.logit_filters import LogitFilters, log_sum_exp
from sottovoce.runtime.decoding.sampling import decode_sampled
from sottovoce.runtime.decoding.tokenizer import Tokens, WhisperTokenizer
from sottovoce.runtime.model.decoder import Decoder, Encoded, stacked
from sottovoce.runtime.model.elastic import FULL_WINDOW, ElasticPlan
from sottovoce.runtime.model.encoder import Encoder
from sottovoce.runtime.model.openvino.huge_pages import start_moving
from sottovoce.runtime.options import TranscribeOptions
from sottovoce.runtime.transcript import Phase

SAMPLING_SEED = 0
"""The same audio gives the same transcript."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodingResult:
    """What a window gave.

    Attributes:
        attempt: the decoding that was taken.
        encoded: what it was decoded from, a batch of one.
        compression_ratio: of its text.
        is_silent: the model takes the window for silence.
    """

    attempt: Attempt
    encoded: Encoded
    compression_ratio: float
    is_silent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectedLanguage:
    """The likeliest language of a window.

    Attributes:
        language: code.
        probability: among the languages that the model knows.
    """

    language: str
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodingContext:
    """What a transcription settles before its first window.

    Attributes:
        options: what is asked for.
        detected: the language.
        hotwords: tokens to stand before the text of every window.
        first_text: tokens to stand before the first text: names, style.
        are_times_aligned: the times of segments come of the alignment, and the model is asked for none.
    """

    options: TranscribeOptions
    detected: DetectedLanguage
    hotwords: Tokens
    first_text: Tokens
    are_times_aligned: bool = False

    @property
    def hint(self) -> Tokens:
        """What stands before a window that does not know the one before it."""
        return self.hotwords + self.first_text


TOKENS_OF_ANY_WINDOW = 224
"""What openai/whisper lets a window hold, of any length and language (`DecodingOptions.sample_len`)."""

N_BEFORE_HUGE_PAGES = 2
"""Who decodes once wants the first text soon; the second decoding tells that there will be more."""


class WindowDecoder:
    """An encoder and a decoder that turn windows into tokens."""

    def __init__(self, encoder: Encoder, decoder: Decoder, tokenizer: WhisperTokenizer) -> None:
        self.encoder = encoder
        self._decoder = decoder
        self._tokenizer = tokenizer
        self._n_decodings = 0

    def decode(
        self, waves: Sequence[Wave], prompt: Tokens, options: TranscribeOptions, clock: PhaseClock
    ) -> tuple[DecodingResult, ...]:
        """Decode windows, several at once where that is greedy from the start.

        Args:
            waves: float32, shape (n_samples,) each, at most 30 s.
            prompt: the same for all.
            options: beams, temperatures and limits.
            clock: is told what the work took.
        """
        self._n_decodings += 1
        if self._n_decodings == N_BEFORE_HUGE_PAGES:
            start_moving()
        encoded = self._encode(waves, clock)
        alone = [encoded.row(number) for number in range(len(waves))]
        if len(waves) == 1 or options.beam_size > 1 or options.temperatures[0] > 0:
            return tuple(
                self._decode_one(wave, one, prompt, options, clock)
                for wave, one in zip(waves, alone, strict=True)
            )
        attempts = self._decode_batch(waves, encoded, prompt, clock)
        return tuple(
            self._mend(wave, one, attempt, prompt, options, clock)
            for wave, one, attempt in zip(waves, alone, attempts, strict=True)
        )

    def detect(self, wave: Wave, clock: PhaseClock) -> DetectedLanguage:
        """Detect the language of a window.

        Args:
            wave: float32, shape (n_samples,), at most 30 s.
            clock: is told what the work took.
        """
        special = self._tokenizer.special
        encoded = self._encode([wave], clock)
        with clock.time(Phase.PREFILL):
            self._decoder.start(encoded)
            row = self._decoder.run(np.array([[special.start]], dtype=np.int64))[0, -1]
        codes, tokens = list(special.languages), np.array(list(special.languages.values()))
        among = row[tokens]
        best = int(among.argmax())
        return DetectedLanguage(
            language=codes[best], probability=float(np.exp(among[best] - log_sum_exp(among)))
        )

    def _encode(self, waves: Sequence[Wave], clock: PhaseClock) -> Encoded:
        """Encode windows; all get as many positions as the longest one needs."""
        plans = [self.encoder.plan(len(wave), is_alone=len(waves) == 1) for wave in waves]
        n_positions = max(plan.n_positions + plan.n_silent for plan in plans)
        encoded = [
            self._encode_one(wave, plan.filled_to(n_positions), clock)
            for wave, plan in zip(waves, plans, strict=True)
        ]
        return encoded[0] if len(encoded) == 1 else stacked(encoded)

    def _encode_one(self, wave: Wave, plan: ElasticPlan, clock: PhaseClock) -> Encoded:
        with clock.time(Phase.FEATURES):
            features = log_mel(wave, n_mels=self.encoder.n_mels, n_frames=plan.n_frames)
        with clock.time(Phase.ENCODER):
            return self.encoder.encode(features, plan)

    def _begin(self, encoded: Encoded, prompt: Tokens, clock: PhaseClock) -> tuple[PrefillResult, ...]:
        special = self._tokenizer.special
        with clock.time(Phase.PREFILL):
            self._decoder.start(encoded)
            return prefill_batch(
                self._decoder,
                prompt,
                len(encoded.states),
                start=special.start,
                no_speech=special.no_speech,
            )

    def _rules(self, prompt: Tokens) -> LogitFilters:
        special = self._tokenizer.special
        return LogitFilters(special, with_timestamps=prompt[-1] != special.no_timestamps)

    def _limit(self, wave: Wave, prompt: Tokens) -> int:
        least = TOKENS_OF_ANY_WINDOW if self._tokenizer.special.takes_many_tokens(prompt) else 0
        return token_limit(len(wave) / SAMPLE_RATE_HZ, prompt, least=least)

    def _decode_batch(
        self,
        waves: Sequence[Wave],
        encoded: Encoded,
        prompt: Tokens,
        clock: PhaseClock,
    ) -> tuple[Attempt, ...]:
        begins = self._begin(encoded, prompt, clock)
        limits = [self._limit(wave, prompt) for wave in waves]
        with clock.time(Phase.DECODE, 0):
            attempts = decode_batch(
                self._decoder, begins, self._rules(prompt), end=self._tokenizer.special.end, limits=limits
            )
        clock.count(Phase.DECODE, max(len(attempt.tokens) for attempt in attempts))
        return attempts

    def _decode_one(
        self, wave: Wave, encoded: Encoded, prompt: Tokens, options: TranscribeOptions, clock: PhaseClock
    ) -> DecodingResult:
        attempt = self._attempt(wave, encoded, prompt, options, clock, temperature=options.temperatures[0])
        return self._mend(wave, encoded, attempt, prompt, options, clock)

    def _mend(
        self,
        wave: Wave,
        encoded: Encoded,
        attempt: Attempt,
        prompt: Tokens,
        options: TranscribeOptions,
        clock: PhaseClock,
    ) -> DecodingResult:
        """Decode again what looped or is unlikely: with all 30 s encoded, then at higher temperatures."""
        heard = self._judge(attempt, encoded, options)
        is_cut = self.encoder.plan(len(wave)).n_positions < WINDOW_POSITIONS
        if is_cut and self._repeats(heard, options):
            clock.n_redone += 1
            whole = self._encode_one(wave, FULL_WINDOW, clock)
            again = self._attempt(wave, whole, prompt, options, clock, temperature=options.temperatures[0])
            heard = self._judge(again, whole, options)
        best = heard
        for temperature in options.temperatures[1:]:
            if not self._is_doubtful(heard, options):
                return heard
            clock.n_redone += 1
            again = self._attempt(wave, heard.encoded, prompt, options, clock, temperature=temperature)
            heard = self._judge(again, heard.encoded, options)
            best = max(best, heard, key=lambda each: self._rank(each, options))
        return heard if not self._is_doubtful(heard, options) else best

    def _rank(self, heard: DecodingResult, options: TranscribeOptions) -> tuple[bool, float]:
        """Order attempts none of which is good: chance at a high temperature is seldom the best of them."""
        return not self._repeats(heard, options), heard.attempt.mean_log_probability

    def _attempt(
        self,
        wave: Wave,
        encoded: Encoded,
        prompt: Tokens,
        options: TranscribeOptions,
        clock: PhaseClock,
        *,
        temperature: float,
    ) -> Attempt:
        (begin,) = self._begin(encoded, prompt, clock)
        rules, end = self._rules(prompt), self._tokenizer.special.end
        limit = self._limit(wave, prompt)
        with clock.time(Phase.DECODE, 0):
            if temperature > 0:
                attempt = decode_sampled(
                    self._decoder,
                    begin,
                    rules,
                    end=end,
                    limit=limit,
                    temperature=temperature,
                    generator=np.random.default_rng(SAMPLING_SEED),
                )
            elif options.beam_size > 1:
                attempt = decode_by_beams(
                    self._decoder, begin, rules, end=end, limit=limit, n_beams=options.beam_size
                )
            else:
                attempt = decode_greedily(self._decoder, begin, rules, end=end, limit=limit)
        clock.count(Phase.DECODE, len(attempt.tokens))
        return attempt

    def _judge(self, attempt: Attempt, encoded: Encoded, options: TranscribeOptions) -> DecodingResult:
        is_unlikely = attempt.mean_log_probability < options.log_probability_limit
        return DecodingResult(
            attempt=attempt,
            encoded=encoded,
            compression_ratio=compression_ratio(self._tokenizer.text(attempt.tokens)),
            is_silent=is_unlikely and attempt.no_speech_probability > options.no_speech_limit,
        )

    def _repeats(self, heard: DecodingResult, options: TranscribeOptions) -> bool:
        return heard.attempt.has_looped or heard.compression_ratio > options.compression_ratio_limit

    def _is_doubtful(self, heard: DecodingResult, options: TranscribeOptions) -> bool:
        if heard.is_silent:
            return False
        is_unlikely = heard.attempt.mean_log_probability < options.log_probability_limit
        return is_unlikely or self._repeats(heard, options)
