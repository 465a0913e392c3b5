"""A variant that is loaded: a model shared between threads, and a session of it for each stream."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path

from sottovoce.runtime.decoding.tokenizer import WhisperTokenizer
from sottovoce.runtime.decoding.window_decoder import WindowDecoder
from sottovoce.runtime.live.options import CommitRule
from sottovoce.runtime.model.base import DecoderModel, EncoderModel
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.elastic import PaddingStates
from sottovoce.runtime.model.encoder import Encoder
from sottovoce.runtime.model.load import load_decoder_model, load_encoder_model
from sottovoce.runtime.model.openvino.memory import give_back_freed
from sottovoce.runtime.model.openvino.quiet_import import import_openvino
from sottovoce.runtime.model.variant import has_recorded_ranges, read_commit_rule
from sottovoce.runtime.options import MAX_BATCH
from sottovoce.runtime.timestamps.alignment import Aligner, AlignmentGraph
from sottovoce.terms import MemoryUse

LOW_MEMORY_BATCH = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What one stream is transcribed with, by one thread at a time.

    Attributes:
        tokenizer: shared with other sessions, as are the graphs of the rest.
        window_decoder: encodes and decodes, in its own buffers.
        aligner: finds the times of words; None where a variant has no alignment.
        is_elastic: only the speech of a window is encoded.
        largest_batch: windows that are decoded at once, at most.
    """

    tokenizer: WhisperTokenizer
    window_decoder: WindowDecoder
    aligner: Aligner | None
    is_elastic: bool
    largest_batch: int = MAX_BATCH


class Model:
    """A variant's compiled graphs and its tokenizer, shared between threads."""

    def __init__(
        self,
        encoder: EncoderModel,
        decoder: DecoderModel,
        tokenizer: WhisperTokenizer,
        *,
        padding: PaddingStates | None = None,
        alignment: AlignmentGraph | None = None,
        has_recorded_ranges: bool = False,
        memory: MemoryUse = MemoryUse.NORMAL,
        commit_rule: CommitRule | None = None,
    ) -> None:
        self.encoder = encoder
        self.decoder = decoder
        self.tokenizer = tokenizer
        self.commit_rule = commit_rule
        self._padding = padding
        self._alignment = alignment
        self._has_recorded_ranges = has_recorded_ranges
        self._memory = memory
        self._decodings = count(1)

    def session(self) -> Session:
        """Return a session for another stream: buffers, keys and values of its own."""
        encoder = Encoder(
            self.encoder.session(),
            self._padding,
            has_recorded_ranges=self._has_recorded_ranges,
            memory=self._memory,
        )
        decoder = self.decoder.session()
        return Session(
            tokenizer=self.tokenizer,
            window_decoder=WindowDecoder(
                encoder, decoder, self.tokenizer, self._decodings, memory=self._memory
            ),
            aligner=None if self._alignment is None else Aligner(self._alignment, self.tokenizer),
            is_elastic=encoder.is_elastic,
            largest_batch=LOW_MEMORY_BATCH if self._memory is MemoryUse.LOW else MAX_BATCH,
        )


def load_openvino_model(folder: Path, compute: ComputeSpec) -> Model:
    """Compile an OpenVINO variant.

    Raises:
        InputError: the folder is damaged.
    """
    import_openvino()
    alignment = AlignmentGraph(folder, compute)
    _ = alignment.heads  # damaged heads are reported before any work
    return _load_model(folder, compute, alignment)


def load_onnx_model(folder: Path, compute: ComputeSpec) -> Model:
    """Open an ONNX variant, whose graphs have no output for cross-attention to align by.

    Raises:
        InputError: the folder is damaged.
        MissingExtraError: onnxruntime is not installed.
    """
    return _load_model(folder, compute, None)


def _load_model(folder: Path, compute: ComputeSpec, alignment: AlignmentGraph | None) -> Model:
    load = _load_in_turn if compute.memory is MemoryUse.LOW else _load_at_once
    encoder, decoder, tokenizer = load(folder, compute)
    model = Model(
        encoder,
        decoder,
        tokenizer,
        padding=PaddingStates.load(folder),
        alignment=alignment,
        has_recorded_ranges=has_recorded_ranges(folder),
        memory=compute.memory,
        commit_rule=read_commit_rule(folder),
    )
    give_back_freed()
    return model


Parts = tuple[EncoderModel, DecoderModel, WhisperTokenizer]


def _load_in_turn(folder: Path, compute: ComputeSpec) -> Parts:
    """Load one part after another, so that what compiling takes is not needed twice at once."""
    encoder = load_encoder_model(folder, compute)
    give_back_freed()
    decoder = load_decoder_model(folder, compute)
    give_back_freed()
    return encoder, decoder, WhisperTokenizer.load(folder)


def _load_at_once(folder: Path, compute: ComputeSpec) -> Parts:
    # OpenVINO compiles a graph on one core: several graphs at once are ready sooner. The tokenizer comes last:
    # reading it holds Python's lock for 0.1 s.
    pool = _loaders()
    encoder = pool.submit(load_encoder_model, folder, compute)
    decoder = pool.submit(load_decoder_model, folder, compute)
    tokenizer = pool.submit(WhisperTokenizer.load, folder).result()
    return encoder.result(), decoder.result(), tokenizer


@cache
def _loaders() -> ThreadPoolExecutor:
    """Return the threads that load models: OpenVINO keeps a native thread and 5 MB for each thread that ever compiled."""
    return ThreadPoolExecutor(3, thread_name_prefix="sottovoce-load")
