"""Transcribe with a variant: Whisper on OpenVINO, ONNX Runtime or CTranslate2, without torch and transformers."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sottovoce.runtime.live.events import Committed, Lagging, Partial, SpeechStarted, Utterance
    from sottovoce.runtime.live.options import LiveOptions
    from sottovoce.runtime.live.session import LiveSession
    from sottovoce.runtime.loading import load
    from sottovoce.runtime.options import TranscribeOptions
    from sottovoce.runtime.protocol import SegmentStream, Transcriber
    from sottovoce.runtime.transcript import Segment, Task, Timings, Transcript, Word

__all__ = [
    "Committed",
    "Lagging",
    "LiveOptions",
    "LiveSession",
    "Partial",
    "Segment",
    "SegmentStream",
    "SpeechStarted",
    "Task",
    "Timings",
    "TranscribeOptions",
    "Transcriber",
    "Transcript",
    "Utterance",
    "Word",
    "load",
]

_HOMES = {
    "Committed": "live.events",
    "Lagging": "live.events",
    "LiveOptions": "live.options",
    "LiveSession": "live.session",
    "Partial": "live.events",
    "Segment": "transcript",
    "SegmentStream": "protocol",
    "SpeechStarted": "live.events",
    "Task": "transcript",
    "Timings": "transcript",
    "TranscribeOptions": "options",
    "Transcriber": "loading",  # not protocol: loading.py adds the deprecated `Transcriber.load`
    "Transcript": "transcript",
    "Utterance": "live.events",
    "Word": "transcript",
    "load": "loading",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: other stages use parts of this one."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
