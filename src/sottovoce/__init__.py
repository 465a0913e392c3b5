"""Whisper, made small and quick for CPUs and edge devices, with proof."""

from importlib.metadata import version

__version__ = version("sottovoce")

__all__ = ["__version__"]
