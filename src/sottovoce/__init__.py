"""Whisper, made small and fast for CPUs and edge devices, with proof."""

import sys

__all__ = ["__version__"]

# OpenVINO's converter and NNCF send usage data to Google unless the user has refused, and fork a process of gigabytes for each event. They do
# without where the package is not installed: an import of it now fails as if it were not.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]


def __getattr__(name: str) -> str:
    """Read the version on first use: that takes longer than the rest of the start of some commands."""
    if name != "__version__":
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from importlib.metadata import version

    return version("sottovoce")
