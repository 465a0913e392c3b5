"""Load a variant, in the library of its format.

from sottovoce.runtime import load

transcriber = load("runs/base")
for segment in transcriber.segments("talk.mp3"):
    print(segment.start_s, segment.end_s, segment.text)
"""

import warnings
from dataclasses import replace
from pathlib import Path

from sottovoce.errors import SpecError
from sottovoce.machine.resources import usable_cores
from sottovoce.runtime.ctranslate2 import Ctranslate2Transcriber, open_model
from sottovoce.runtime.decoding.model_defaults import read_defaults
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.layout import format_of
from sottovoce.runtime.model.requirements import check_machine
from sottovoce.runtime.model.variant import find_variant, read_compute
from sottovoce.runtime.protocol import Transcriber
from sottovoce.runtime.session import Model, load_onnx_model, load_openvino_model
from sottovoce.runtime.transcriber import OnnxTranscriber, OpenVinoTranscriber
from sottovoce.terms import Format, MemoryUse


def load(
    path: Path | str,
    *,
    compute: ComputeSpec | None = None,
    threads: int | None = None,
    memory: MemoryUse | str | None = None,
) -> Transcriber:
    """Load a variant.

    Args:
        path: folder of a variant, or of a run: its quantized variant then.
        compute: precision and threads; by default those that the variant was made for, and all cores.
        threads: of inference, where `compute` is not given.
        memory: `low` for small devices, a fifth slower; by default what the variant was made for.

    Raises:
        SpecError: `memory` is none of `MemoryUse`, or a CTranslate2 variant is to take little.
        InputError: the folder holds no variant, or a damaged one.
        MissingExtraError: the library that runs its format is not installed.
        ResourceError: this machine cannot run it: its CPU lacks an instruction set, or memory is short.
    """
    folder, compute = _resolve(path, compute, threads, memory)
    match format_of(folder):
        case Format.OPENVINO:
            return OpenVinoTranscriber(load_openvino_model(folder, compute))
        case Format.ONNX:
            return OnnxTranscriber(load_onnx_model(folder, compute))
        case Format.CTRANSLATE2:
            model = open_model(folder, compute)
            return Ctranslate2Transcriber(model, read_defaults(folder, model.supported_languages))


def load_model(
    path: Path | str,
    *,
    compute: ComputeSpec | None = None,
    threads: int | None = None,
    memory: MemoryUse | str | None = None,
) -> Model:
    """Load the model of an OpenVINO or ONNX variant, for several sessions; see `load`.

    Raises:
        SpecError: it is a CTranslate2 variant.
    """
    folder, compute = _resolve(path, compute, threads, memory)
    if format_of(folder) is Format.CTRANSLATE2:
        raise SpecError(f"{folder} is a CTranslate2 variant; open it with load")
    return (load_onnx_model if format_of(folder) is Format.ONNX else load_openvino_model)(folder, compute)


def _resolve(
    path: Path | str, compute: ComputeSpec | None, threads: int | None, memory: MemoryUse | str | None
) -> tuple[Path, ComputeSpec]:
    if memory not in (None, *MemoryUse):
        raise SpecError(f"memory is {memory}, want {' or '.join(MemoryUse)}")
    folder = find_variant(Path(path))
    if memory == MemoryUse.LOW and format_of(folder) is Format.CTRANSLATE2:
        raise SpecError(f"{folder} is a CTranslate2 variant, whose memory is its library's; leave memory out")
    check_machine(folder)
    compute = compute or replace(read_compute(folder), threads=threads or usable_cores())
    return folder, compute if memory is None else replace(compute, memory=MemoryUse(memory))


def _deprecated_load(
    path: Path | str, *, compute: ComputeSpec | None = None, threads: int | None = None
) -> Transcriber:
    warnings.warn(
        "Transcriber.load is deprecated; use sottovoce.runtime.load", DeprecationWarning, stacklevel=2
    )
    return load(path, compute=compute, threads=threads)


# The name of the release before: set from here, since the protocol itself loads nothing.
Transcriber.load = staticmethod(_deprecated_load)  # type: ignore[attr-defined]
