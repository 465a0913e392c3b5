"""A calibration record on disk, and the calls that are rebuilt from it.

A step of the decoder with past receives the keys and values of all tokens before it: 37 MB per token for base. Only the
features, the encoder's output and the token ids of a sequence are stored. One pass of the first-step decoder over all
tokens rebuilds the keys and values of every step, because those of a position do not depend on later positions. The
recording checks the rebuilt values against the recorded ones.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sottovoce.errors import InputError
from sottovoce.recipes.recipe import QuantizedVariant
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.layout import component_path
from sottovoce.storage.artifacts import read_manifest
from sottovoce.storage.documents import Document, read_json_lines, write_json_lines
from sottovoce.terms import Component

SEQUENCES_NAME = "sequences.jsonl"

RECORD_AGAIN = "record again with `sottovoce calibrate RUN --data SPEECH`"

TRANSCRIBED_KEY = "n_transcribed_clips"
"""Fact of a record's manifest; without it all clips were transcribed, by earlier versions."""

PREFIX_STRIDE = 7
"""Difference between the lengths of the prefixes of two clips, in steps."""

Call = Mapping[str, NDArray[Any]]
"""The inputs of one inference by name."""


class SequenceEntry(Document):
    """One decoded sequence in the index of a calibration record.

    Attributes:
        file: safetensors with `input_features` (1, n_mels, 3000), `encoder_hidden_states`
            (1, 1500, d_model), both float32, and `token_ids` (1, n_tokens), int64.
        n_prompt: tokens of the first decoder pass.
        n_tokens: all input tokens of the decoders, the prompt included.
    """

    file: str
    clip_id: str
    language: str | None
    audio_s: float
    n_prompt: int
    n_tokens: int

    @property
    def n_steps(self) -> int:
        """Calls of the decoder with past."""
        return self.n_tokens - self.n_prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedSequence:
    """The inputs of the components for one sequence.

    Attributes:
        features: float32, shape (1, n_mels, 3000); input of the encoder.
        encoder_states: float32, shape (1, 1500, d_model); input of both decoders.
        token_ids: int64, shape (1, n_tokens); prompt first.
        n_prompt: tokens of the first decoder pass.
    """

    features: NDArray[np.float32]
    encoder_states: NDArray[np.float32]
    token_ids: NDArray[np.int64]
    n_prompt: int

    @property
    def prompt(self) -> NDArray[np.int64]:
        """Tokens of the first decoder pass, shape (1, n_prompt)."""
        return self.token_ids[:, : self.n_prompt]


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """The calls of one component, rebuilt at each iteration; NNCF iterates several times."""

    length: int
    make: Callable[[], Iterator[Call]]

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Call]:
        return self.make()


class CalibrationStore:
    """A calibration record on disk."""

    def __init__(self, folder: Path) -> None:
        """Open a record.

        Raises:
            InputError: the folder is not a finished calibration record.
        """
        manifest = read_manifest(folder)
        if manifest.kind != "calibration":
            raise InputError(f"{folder} is a {manifest.kind}, want a calibration record")
        self.folder = folder
        self.manifest = manifest
        self.entries = _read_index(folder)

    def clip_ids(self) -> frozenset[str]:
        """Return the ids of the recorded clips."""
        return frozenset(entry.clip_id for entry in self.entries)

    def check_transcripts(self, variant: QuantizedVariant) -> None:
        """Check that the record has the tokens by which a variant is quantized.

        Raises:
            InputError: not all clips were transcribed, and the variant needs it.
        """
        n_clips = self.manifest.facts["n_clips"]
        n_transcribed = self.manifest.facts.get(TRANSCRIBED_KEY, n_clips)
        if variant.needs_transcripts and n_transcribed != n_clips:
            raise InputError(
                f"{self.folder} has the tokens of {n_transcribed} of {n_clips} clips, {variant.name} is quantized by those of "
                f"all; record them with `sottovoce calibrate {self.folder.parent} --data SPEECH "
                f"--set calibration.n_transcribed_clips={n_clips}`"
            )

    def first(self, n_clips: int) -> "CalibrationStore":
        """Return the part of the record with the first `n_clips` clips; their order is random."""
        chosen = frozenset(list(dict.fromkeys(entry.clip_id for entry in self.entries))[:n_clips])
        part = copy(self)
        part.entries = tuple(entry for entry in self.entries if entry.clip_id in chosen)
        return part

    def read(self, entry: SequenceEntry) -> DecodedSequence:
        """Read one sequence."""
        return read_sequence(self.folder, entry)

    def calls(self, component: Component, baseline: Path) -> Calls:
        """Return every recorded call of a component.

        Args:
            baseline: folder of the stateless float32 variant that was recorded; its decoder
                rebuilds the keys and values.
        """
        if component is Component.ENCODER:
            return Calls(length=len(self.entries), make=self._encoder_calls)
        if component is Component.DECODER:
            return Calls(length=len(self.entries), make=self._decoder_calls)
        n_steps = sum(entry.n_steps for entry in self.entries)
        return Calls(length=n_steps, make=lambda: self._step_calls(baseline))

    def prefixes(self) -> Calls:
        """Return one call of a stateful decoder with empty state for each sequence.

        Each call has the prompt and a part of the tokens that were decoded. The lengths differ, so that early and late
        tokens are predicted.
        """
        return Calls(length=len(self.entries), make=self._prefix_calls)

    def _prefix_calls(self) -> Iterator[Call]:
        for i, entry in enumerate(self.entries):
            sequence = self.read(entry)
            n_tokens = entry.n_prompt + (PREFIX_STRIDE * i) % max(1, entry.n_steps)
            yield {
                "input_ids": np.ascontiguousarray(sequence.token_ids[:, :n_tokens]),
                "encoder_hidden_states": sequence.encoder_states,
                "beam_idx": np.zeros(1, dtype=np.int32),
            }

    def _encoder_calls(self) -> Iterator[Call]:
        for entry in self.entries:
            yield {"input_features": self.read(entry).features}

    def _decoder_calls(self) -> Iterator[Call]:
        for entry in self.entries:
            sequence = self.read(entry)
            yield {
                "input_ids": sequence.prompt,
                "encoder_hidden_states": sequence.encoder_states,
            }

    def _step_calls(self, baseline: Path) -> Iterator[Call]:
        rebuild = StepRebuilder(baseline)
        for entry in self.entries:
            if entry.n_steps:
                yield from rebuild.steps(self.read(entry))


def read_sequence(folder: Path, entry: SequenceEntry) -> DecodedSequence:
    """Read one sequence of a record, finished or not.

    Raises:
        InputError: its file is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = folder / entry.file
    try:
        arrays = load_file(path)
        return DecodedSequence(
            features=arrays["input_features"],
            encoder_states=arrays["encoder_hidden_states"],
            token_ids=arrays["token_ids"],
            n_prompt=entry.n_prompt,
        )
    except (OSError, SafetensorError, KeyError) as cause:
        raise _damaged(path, cause) from cause


def _read_index(folder: Path) -> tuple[SequenceEntry, ...]:
    return read_json_lines(folder / SEQUENCES_NAME, SequenceEntry, advice=RECORD_AGAIN)


def _damaged(path: Path, cause: Exception) -> InputError:
    return InputError(f"{path} is damaged ({cause}); {RECORD_AGAIN}")


class StepRebuilder:
    """Rebuilds the calls of the decoder with past from token ids and encoder output."""

    def __init__(self, baseline: Path, decoder: Any | None = None) -> None:
        """Prepare the first-step decoder.

        Args:
            decoder: it, where it is compiled already (`openvino.CompiledModel`).
        """
        import openvino

        core = openvino.Core()
        self._decoder = decoder or core.compile_model(
            component_path(baseline, Component.DECODER), "CPU", ComputeSpec().properties()
        )
        stepped = core.read_model(component_path(baseline, Component.DECODER_WITH_PAST))
        self._inputs = tuple(port.get_any_name() for port in stepped.inputs)

    def steps(self, sequence: DecodedSequence) -> Iterator[Call]:
        """Yield the call of each step: the token, and the keys and values before it."""
        present = self._keys_and_values(sequence)
        for step in range(sequence.n_prompt, sequence.token_ids.shape[1]):
            yield self._call(sequence, present, step)

    def step(self, sequence: DecodedSequence, step: int) -> Call:
        """Return the call of one step."""
        return self._call(sequence, self._keys_and_values(sequence), step)

    def _keys_and_values(self, sequence: DecodedSequence) -> Call:
        # A request of its own gives its buffers back, those of all keys and values.
        outputs = self._decoder.create_infer_request().infer(
            {"input_ids": sequence.token_ids, "encoder_hidden_states": sequence.encoder_states}
        )
        return {
            name.replace("present", "past_key_values"): outputs[port]
            for port in self._decoder.outputs
            for name in port.get_names()
            if name.startswith("present")
        }

    def _call(self, sequence: DecodedSequence, present: Call, step: int) -> Call:
        inputs: dict[str, NDArray[Any]] = {
            "input_ids": sequence.token_ids[:, step : step + 1],
            "encoder_hidden_states": sequence.encoder_states,
        }
        past = {name: _past(name, states, step) for name, states in present.items() if name in self._inputs}
        return {**{name: value for name, value in inputs.items() if name in self._inputs}, **past}


def _past(name: str, states: NDArray[Any], step: int) -> NDArray[Any]:
    """Return the states before a step: self-attention's are cut, cross-attention's are the same in all steps."""
    return np.ascontiguousarray(states[:, :, :step]) if ".decoder." in name else states


def write_sequence(sequence: DecodedSequence, path: Path) -> None:
    """Write one sequence as safetensors."""
    from safetensors.numpy import save_file

    save_file(
        {
            "input_features": np.ascontiguousarray(sequence.features),
            "encoder_hidden_states": np.ascontiguousarray(sequence.encoder_states),
            "token_ids": np.ascontiguousarray(sequence.token_ids),
        },
        path,
    )


def write_index(entries: Sequence[SequenceEntry], folder: Path) -> None:
    """Write the index of a record."""
    write_json_lines(folder / SEQUENCES_NAME, entries)
