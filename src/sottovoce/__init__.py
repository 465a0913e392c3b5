"""Whisper, made small and fast for CPUs and edge devices, with proof."""

__all__ = ["__version__"]


def __getattr__(name: str) -> str:
    """Read the version on first use: that takes longer than the rest of the start of some commands."""
    if name != "__version__":
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from importlib.metadata import version

    return version("sottovoce")
