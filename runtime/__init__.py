"""What a device runs: Whisper on OpenVINO, without torch and transformers."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sottovoce.runtime.options import TranscribeOptions
    from sottovoce.runtime.transcriber import Transcriber
    from sottovoce.runtime.transcript import Segment, Task, Timings, Transcript, Word

__all__ = ["Segment", "Task", "Timings", "TranscribeOptions", "Transcriber", "Transcript", "Word"]

_HOMES = {
    "Segment": "transcript",
    "Task": "transcript",
    "Timings": "transcript",
    "TranscribeOptions": "options",
    "Transcriber": "transcriber",
    "Transcript": "transcript",
    "Word": "transcript",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: other stages use parts of this one."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
