"""Names of published checkpoints. Imports nothing heavy: `sottovoce transcribe` looks here first."""

import re
from collections.abc import Mapping
from pathlib import Path

HUB_IDS: Mapping[str, str] = {
    **{
        size: f"openai/whisper-{size}"
        for size in (
            "tiny",
            "tiny.en",
            "base",
            "base.en",
            "small",
            "small.en",
            "medium",
            "medium.en",
            "large",
            "large-v2",
            "large-v3",
            "large-v3-turbo",
        )
    },
    "distil-small.en": "distil-whisper/distil-small.en",
    "distil-medium.en": "distil-whisper/distil-medium.en",
    "distil-large-v2": "distil-whisper/distil-large-v2",
    "distil-large-v3": "distil-whisper/distil-large-v3",
}
"""Short names of published checkpoints."""

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def is_short_name(text: str) -> bool:
    """Return whether a text is a short name, with `@revision` or without."""
    return text.partition("@")[0] in HUB_IDS


def is_model_name(text: str) -> bool:
    """Return whether a text names a published checkpoint: a short name or a hub id, with `@revision` or without.

    A path in a folder that exists, such as `runs/base`, is no hub id.
    """
    name = text.partition("@")[0]
    return is_short_name(text) or (_HUB_ID.fullmatch(name) is not None and not Path(name).parent.is_dir())
