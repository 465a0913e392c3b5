"""The user's cache folder."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return the user's cache folder of sottovoce; `SOTTOVOCE_CACHE` moves it."""
    configured = os.environ.get("SOTTOVOCE_CACHE")
    if configured:
        return Path(configured)
    from platformdirs import user_cache_path

    return user_cache_path("sottovoce")
