"""The reference pipeline: a variant in optimum-intel, loaded with pinned precision.

Calibration records its inputs, export is checked against it, and the benchmark times it. It needs the extra
`optimize`; devices run `sottovoce.runtime` instead.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sottovoce.errors import InputError, MissingExtraError
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import Wave
from sottovoce.runtime.audio.features import Features
from sottovoce.runtime.decoding.tokenizer import Tokens
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.layout import components_of
from sottovoce.terms import Component

logger = logging.getLogger(__name__)

Wrap = Callable[[Any], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcription:
    """The transcript of one wave."""

    text: str
    tokens: Tokens


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Silence warnings of torch, transformers and optimum that a user cannot act on."""
    from transformers.utils import logging as transformers_logging

    noisy = [
        logging.getLogger(name)
        for name in (
            "optimum",
            "transformers",
            "nncf",
            "torch",
            "openvino_tokenizers",
            "openvino.frontend.pytorch.utils",
        )
    ]
    levels = [log.level for log in noisy]
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    for log in noisy:
        log.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        for log, level in zip(noisy, levels, strict=True):
            log.setLevel(level)


@contextmanager
def quiet_output() -> Iterator[None]:
    """Silence what libraries print to standard output, which is for our data."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Leave the cores to OpenVINO while optimum-intel transcribes.

    Between two steps transformers runs small torch operations. With torch's default of one thread per core they wait
    for cores that OpenVINO's threads occupy, and a step takes many times as long (docs/lab-notes.md).
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class KnownStates:
    """Stands for the encoder of a pipeline where its output is known.

    Attributes:
        states: float32, shape (1, 1500, d_model).
    """

    def __init__(self) -> None:
        self.states: NDArray[np.float32] | None = None

    def __call__(self, inputs: object, **_: object) -> dict[str, NDArray[np.float32]]:  # noqa: ARG002 - the interface
        """Return the states, as the compiled encoder does."""
        if self.states is None:
            raise RuntimeError("the encoder was freed, and no states were given")
        return {"last_hidden_state": self.states}

    def query_state(self) -> tuple[()]:
        """Return the states that are kept between calls: none."""
        return ()


class OptimumPipeline:
    """A variant loaded in optimum-intel."""

    def __init__(self, model: Any, processor: Any) -> None:
        self._model = model
        self._processor = processor
        self.is_multilingual = bool(getattr(model.generation_config, "is_multilingual", True))
        self.languages = _languages(model.generation_config)

    @classmethod
    def load(cls, folder: Path, compute: ComputeSpec, *, compile_all: bool = True) -> "OptimumPipeline":
        """Load and compile a variant.

        Args:
            compile_all: now; else each component when it first runs.

        Raises:
            InputError: the folder holds no Whisper that optimum-intel can load.
            MissingExtraError: optimum-intel is not installed.
        """
        try:
            from optimum.intel import OVModelForSpeechSeq2Seq
            from transformers import WhisperProcessor
        except ImportError as cause:
            raise MissingExtraError("optimum-intel", needed_for="this command", extra="optimize") from cause
        if Component.ENCODER not in components_of(folder) or Component.DECODER not in components_of(folder):
            raise InputError(f"{folder} holds no encoder and decoder; give a variant of a run")
        with quiet_libraries():
            model = OVModelForSpeechSeq2Seq.from_pretrained(
                folder, ov_config=compute.properties(), local_files_only=True, compile=compile_all
            )
            processor = WhisperProcessor.from_pretrained(folder, local_files_only=True)
        return cls(model, processor)

    def known_language(self, language: str | None) -> str | None:
        """Return a language that the model knows, else None, which detects it."""
        return language if language in self.languages else None

    @property
    def components(self) -> tuple[Component, ...]:
        """The loaded components."""
        return tuple(part for part in Component if getattr(self._model, part.value, None) is not None)

    def compiled(self, component: Component) -> Any:
        """Return a component's compiled model (`openvino.CompiledModel`)."""
        part = getattr(self._model, component.value)
        part.compile()
        request = part.request
        return request.get_compiled_model() if hasattr(request, "get_compiled_model") else request

    def wrap(self, component: Component, wrap: Wrap) -> None:
        """Replace a component's infer request by `wrap` of it."""
        part = getattr(self._model, component.value)
        part.compile()
        part.request = wrap(part.request)

    def free_encoder(self) -> KnownStates:
        """Free the compiled encoder; from now on states that `encode` gave are decoded."""
        known = KnownStates()
        self._model.encoder.request = known
        return known

    def features(self, wave: Wave) -> Features:
        """Compute log-mel features, float32, shape (1, n_mels, 3000), of a wave, float32, shape (n_samples,), 16 kHz."""
        extracted = self._processor.feature_extractor(wave, sampling_rate=SAMPLE_RATE_HZ, return_tensors="np")
        features: Features = extracted.input_features
        return features

    def encode(self, features: Features) -> NDArray[np.float32]:
        """Run the encoder: from float32, shape (1, n_mels, 3000), to float32, shape (1, 1500, d_model)."""
        import torch

        states: NDArray[np.float32] = self._model.encoder(
            input_features=torch.from_numpy(features)
        ).last_hidden_state.numpy()
        return states.copy()  # optimum gives the buffer, which the next call overwrites

    def generate(self, features: Features, language: str | None) -> Tokens:
        """Decode greedily without timestamps; return the tokens after the prompt, without the end token.

        Args:
            features: float32, shape (1, n_mels, 3000).
            language: code; None detects it. An English-only model ignores it.
        """
        end = self._model.generation_config.eos_token_id
        return tuple(token for token in self._generate(features, language) if token != end)

    def prefill(self, features: Features, language: str | None) -> None:
        """Run the decoder on the prompt only, of the language that is given or detected; see `generate`."""
        self._generate(features, language, max_new_tokens=1)

    def _generate(self, features: Features, language: str | None, **options: Any) -> Tokens:
        import torch

        if self.is_multilingual:
            options |= {"language": language, "task": "transcribe"}
        with quiet_libraries():
            output = self._model.generate(torch.from_numpy(features), num_beams=1, do_sample=False, **options)
        return tuple(map(int, output[0]))

    def text(self, tokens: Tokens) -> str:
        """Decode tokens into text without special tokens."""
        text: str = self._processor.tokenizer.decode(list(tokens), skip_special_tokens=True)
        return text.strip()

    def transcribe(self, wave: Wave, language: str | None) -> Transcription:
        """Transcribe a wave of at most 30 s."""
        tokens = self.generate(self.features(wave), language)
        return Transcription(text=self.text(tokens), tokens=tokens)


def _languages(generation_config: Any) -> frozenset[str]:
    by_token = getattr(generation_config, "lang_to_id", None) or {}
    return frozenset(token.strip("<|>") for token in by_token) or frozenset({"en"})
