"""Measure a model with one block quantized, or all, against everything float."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, sqrt

from sottovoce.errors import StageError
from sottovoce.optimize.checks.teacher_forcing import Candidate, Comparison, TeacherSequence, judge, score
from sottovoce.optimize.sensitivity.parts import (
    CachingEncoder,
    ModelFiles,
    both,
    decoding,
    encoding,
    output_error,
)
from sottovoce.optimize.sensitivity.report import Figures
from sottovoce.optimize.sensitivity.timing import Saving, Work, time_in_turns
from sottovoce.progress import Reporter
from sottovoce.runtime.decoding.tokenizer import WhisperTokenizer
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.decoder import Decoder
from sottovoce.runtime.model.encoder import Encoder
from sottovoce.speech.loading import LoadedClip

N_TIMED_CLIPS = 4
"""Few clips, each many times: what the machine does besides changes from second to second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeSpecs:
    """What is computed in.

    Attributes:
        judging: f32, so that nothing but quantization differs.
        timing: what the recipe says.
    """

    judging: ComputeSpec
    timing: ComputeSpec


class BlockBench:
    """Holds everything float, and what it said of the clips."""

    def __init__(
        self,
        reference: ModelFiles,
        tokenizer: WhisperTokenizer,
        clips: Sequence[LoadedClip],
        computes: ComputeSpecs,
        reporter: Reporter,
    ) -> None:
        """Load everything float and let it speak."""
        self._reference = reference
        self._tokenizer = tokenizer
        self._computes = computes
        self._encoder = CachingEncoder.load(reference.encoder, computes.judging)
        self._decoder = reference.load_decoder(computes.judging)
        subject = Candidate(self._encoder, self._decoder, tokenizer)
        with reporter.progress("let the float model speak", len(clips)) as advance:
            self._spoken: tuple[TeacherSequence, ...] = score(subject, clips, advance)
        self._timed = self._spoken[:N_TIMED_CLIPS]
        self._timed_encoder = reference.load_encoder(computes.timing)
        self._timed_decoder = reference.load_decoder(computes.timing)

    @property
    def n_tokens(self) -> int:
        """Positions that each model is compared at."""
        return sum(len(clip.tokens) for clip in self._spoken)

    @property
    def n_timed_clips(self) -> int:
        """Clips that each model is timed on."""
        return len(self._timed)

    def float_s(self) -> tuple[float, float]:
        """Return seconds a clip of the float encoder and of the float decoder."""
        encoder = encoding(self._timed_encoder, self._timed)
        decoder = decoding(self._timed_decoder, self._encoder, self._timed)
        times = (time_in_turns(work, work).float_s for work in (encoder, decoder))
        return next(times), next(times)

    def judge(self, parts: ModelFiles, compute: ComputeSpec | None = None) -> tuple[Comparison, float | None]:
        """Compare a model with everything float.

        Args:
            parts: the model.
            compute: f32 where it is None.

        Returns:
            The comparison token by token, and the error of the encoder's output; None where it is the float one.

        Raises:
            StageError: the model gives values that are no numbers.
        """
        encoder, decoder = self._loaded(parts, compute or self._computes.judging)
        error = None
        if encoder is not self._encoder:
            error = output_error(self._encoder, encoder, self._spoken)
        judged = judge(Candidate(encoder, decoder, self._tokenizer), self._spoken)
        if not isfinite(judged.divergence) or not isfinite(error or 0.0):
            raise StageError(
                "the model with this part quantized gives values that are no numbers; try another "
                "smooth_quant_alpha or other clips"
            )
        return judged, error

    def time(self, parts: ModelFiles) -> Saving:
        """Time what differs from everything float against it; everything, where nothing differs."""
        changes_encoder = parts.encoder != self._reference.encoder
        changes_decoder = parts.decoders != self._reference.decoders
        compute = self._computes.timing
        encoder = parts.load_encoder(compute) if changes_encoder else self._timed_encoder
        decoder = parts.load_decoder(compute) if changes_decoder else self._timed_decoder
        if changes_encoder == changes_decoder:
            return time_in_turns(
                both(*self._work(self._timed_encoder, self._timed_decoder)),
                both(*self._work(encoder, decoder)),
            )
        part = 0 if changes_encoder else 1
        return time_in_turns(
            self._work(self._timed_encoder, self._timed_decoder)[part],
            self._work(encoder, decoder)[part],
        )

    def _loaded(self, parts: ModelFiles, compute: ComputeSpec) -> tuple[Encoder, Decoder]:
        """Load what differs from everything float; the rest is there."""
        encoder: Encoder = self._encoder
        decoder = self._decoder
        if parts.encoder != self._reference.encoder:
            encoder = CachingEncoder.load(parts.encoder, compute)
        if parts.decoders != self._reference.decoders:
            decoder = parts.load_decoder(compute)
        return encoder, decoder

    def _work(self, encoder: Encoder, decoder: Decoder) -> tuple[list[Work], list[Work]]:
        return encoding(encoder, self._timed), decoding(decoder, self._encoder, self._timed)


def figures_of(judged: Comparison, error: float | None, saving: Saving) -> Figures:
    """Put together what was measured of a model."""
    return Figures(
        flips=judged.flips,
        divergence=max(0.0, judged.divergence),
        divergence_error=divergence_error(judged),
        output_error=error,
        saved_s=saving.saved_s,
        saved_low_s=saving.low_s,
        saved_high_s=saving.high_s,
    )


def divergence_error(judged: Comparison) -> float:
    """Return the standard error of a mean divergence over clips of different lengths; 0 of a single clip.

    Source: the linearized variance of a ratio estimator (Cochran 1977, section 6.4).
    """
    n_clips = len(judged.clips)
    if n_clips == 1:
        return 0.0
    residuals = [clip.divergence - judged.divergence * clip.n_tokens for clip in judged.clips]
    variance = sum(residual**2 for residual in residuals) * n_clips / (n_clips - 1)
    return sqrt(variance) / judged.n_tokens
