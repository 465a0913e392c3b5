"""The version of faster-whisper that has this interface."""

__version__ = "1.2.1"
