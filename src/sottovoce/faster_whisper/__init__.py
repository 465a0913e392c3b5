"""faster-whisper's interface on a sottovoce variant: programs written for it change one import.

    from sottovoce.faster_whisper import WhisperModel

    segments, info = WhisperModel("runs/base").transcribe("talk.mp3")

Modules, classes and arguments have the names of faster-whisper 1.2.1, which is not needed. An argument that sottovoce
does not implement is refused by its name; `arguments.py` lists all of them.
"""

from sottovoce.faster_whisper import tokenizer
from sottovoce.faster_whisper.audio import decode_audio
from sottovoce.faster_whisper.transcribe import BatchedInferencePipeline, WhisperModel
from sottovoce.faster_whisper.utils import available_models, download_model, format_timestamp
from sottovoce.faster_whisper.version import __version__

__all__ = [
    "BatchedInferencePipeline",
    "WhisperModel",
    "__version__",
    "available_models",
    "decode_audio",
    "download_model",
    "format_timestamp",
    "tokenizer",
]
