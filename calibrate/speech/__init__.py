"""Readers of speech sets: one module a format, one function for all of them."""

from sottovoce.calibrate.speech.read import read_speech

__all__ = ["read_speech"]
