"""Compare a model with one quantized block, or with all, with the float model."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, sqrt

from sottovoce.errors import StageError
from sottovoce.optimize.checks.teacher_forcing import Candidate, Comparison, compare, generate_teachers
from sottovoce.optimize.sensitivity.model_files import CachingEncoder, ModelFiles, output_error
from sottovoce.optimize.sensitivity.report import Figures
from sottovoce.optimize.sensitivity.timing import Saving, Work, both, decoding, encoding, time_in_turns
from sottovoce.progress import Reporter
from sottovoce.runtime.decoding.tokenizer import WhisperTokenizer
from sottovoce.runtime.model.base import Decoder
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.encoder import Encoder
from sottovoce.speech.loading import LoadedClip

N_TIMED_CLIPS = 4
"""Few clips, each many times, since the other load on the machine changes from second to second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeSpecs:
    """Precisions to compute in.

    Attributes:
        comparing: f32, so that nothing but quantization differs.
        timing: the recipe's.
    """

    comparing: ComputeSpec
    timing: ComputeSpec


class BlockBench:
    """Compares models with the float one, which is loaded once."""

    def __init__(
        self,
        reference: ModelFiles,
        tokenizer: WhisperTokenizer,
        clips: Sequence[LoadedClip],
        computes: ComputeSpecs,
        reporter: Reporter,
    ) -> None:
        """Load the float model and transcribe the clips with it."""
        self._reference = reference
        self._tokenizer = tokenizer
        self._computes = computes
        self._encoder = CachingEncoder.load(reference.encoder, computes.comparing)
        self._decoder = reference.load_decoder(computes.comparing)
        baseline = Candidate(self._encoder, self._decoder, tokenizer)
        self._teachers = generate_teachers(baseline, clips, reporter)
        self._timed = self._teachers[:N_TIMED_CLIPS]
        self._timed_encoder = reference.load_encoder(computes.timing)
        self._timed_decoder = reference.load_decoder(computes.timing)

    @property
    def n_tokens(self) -> int:
        """Positions at which each model is compared."""
        return sum(len(clip.tokens) for clip in self._teachers)

    @property
    def n_timed_clips(self) -> int:
        """Clips on which each model is timed."""
        return len(self._timed)

    def float_s(self) -> tuple[float, float]:
        """Return the seconds per clip of the float encoder and of the float decoder."""
        encoder = encoding(self._timed_encoder, self._timed)
        decoder = decoding(self._timed_decoder, self._encoder, self._timed)
        times = (time_in_turns(work, work).float_s for work in (encoder, decoder))
        return next(times), next(times)

    def compare(
        self, files: ModelFiles, compute: ComputeSpec | None = None
    ) -> tuple[Comparison, float | None]:
        """Compare a model with the float one.

        Args:
            compute: None computes in f32.

        Returns:
            The comparison token by token, and the error of the encoder's output; None where the encoder is float.

        Raises:
            StageError: the model computes values that are not numbers.
        """
        encoder, decoder = self._load(files, compute or self._computes.comparing)
        error = None
        if encoder is not self._encoder:
            error = output_error(self._encoder, encoder, self._teachers)
        compared = compare(Candidate(encoder, decoder, self._tokenizer), self._teachers)
        if not isfinite(compared.kl_divergence) or not isfinite(error or 0.0):
            raise StageError(
                "the model with this part quantized computes values that are not numbers; try another "
                "smooth_quant_alpha or other clips"
            )
        return compared, error

    def time(self, files: ModelFiles) -> Saving:
        """Time the components that differ from the float model against it; all, where none differs."""
        changes_encoder = files.encoder != self._reference.encoder
        changes_decoder = files.decoders != self._reference.decoders
        compute = self._computes.timing
        encoder = files.load_encoder(compute) if changes_encoder else self._timed_encoder
        decoder = files.load_decoder(compute) if changes_decoder else self._timed_decoder
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

    def _load(self, files: ModelFiles, compute: ComputeSpec) -> tuple[Encoder, Decoder]:
        """Load the components that differ from the float model; the others are loaded already."""
        encoder: Encoder = self._encoder
        decoder = self._decoder
        if files.encoder != self._reference.encoder:
            encoder = CachingEncoder.load(files.encoder, compute)
        if files.decoders != self._reference.decoders:
            decoder = files.load_decoder(compute)
        return encoder, decoder

    def _work(self, encoder: Encoder, decoder: Decoder) -> tuple[list[Work], list[Work]]:
        return encoding(encoder, self._timed), decoding(decoder, self._encoder, self._timed)


def figures_of(compared: Comparison, error: float | None, saving: Saving) -> Figures:
    """Combine the measurements of a model."""
    return Figures(
        flips=compared.top1_disagreement,
        divergence=max(0.0, compared.kl_divergence),
        divergence_error=divergence_error(compared),
        output_error=error,
        saved_s=saving.saved_s,
        saved_low_s=saving.low_s,
        saved_high_s=saving.high_s,
    )


def divergence_error(compared: Comparison) -> float:
    """Return the standard error of a mean divergence over clips of different lengths; 0 for a single clip.

    Source: the linearized variance of a ratio estimator (Cochran 1977, section 6.4).
    """
    n_clips = len(compared.clips)
    if n_clips == 1:
        return 0.0
    residuals = [clip.kl_divergence - compared.kl_divergence * clip.n_tokens for clip in compared.clips]
    variance = sum(residual**2 for residual in residuals) * n_clips / (n_clips - 1)
    return sqrt(variance) / compared.n_tokens
