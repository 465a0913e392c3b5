"""Readers of speech sets: one module a format, one function for all of them."""

from sottovoce.speech.sets.read import read_speech

__all__ = ["read_speech"]
