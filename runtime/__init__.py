"""Transcribe with a variant: Whisper on OpenVINO, ONNX Runtime or CTranslate2, without torch and transformers."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sottovoce.runtime.loading import load
    from sottovoce.runtime.options import TranscribeOptions
    from sottovoce.runtime.protocol import SegmentStream, Transcriber
    from sottovoce.runtime.transcript import Segment, Task, Timings, Transcript, Word

__all__ = [
    "Segment",
    "SegmentStream",
    "Task",
    "Timings",
    "TranscribeOptions",
    "Transcriber",
    "Transcript",
    "Word",
    "load",
]

_HOMES = {
    "Segment": "transcript",
    "SegmentStream": "protocol",
    "Task": "transcript",
    "Timings": "transcript",
    "TranscribeOptions": "options",
    "Transcriber": "loading",  # not protocol: loading.py adds the deprecated `Transcriber.load`
    "Transcript": "transcript",
    "Word": "transcript",
    "load": "loading",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: other stages use parts of this one."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
