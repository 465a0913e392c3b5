"""Names of files whose accents are written in two ways."""

import unicodedata
from pathlib import Path


def existing_spelling(path: Path) -> Path:
    """Return the path under which a file exists: macOS writes accents apart from their letters, most others do not.

    A path that exists, and one that exists in neither way, stays as it is.
    """
    spellings = (path, *(Path(unicodedata.normalize(form, str(path))) for form in ("NFC", "NFD")))
    return next((spelling for spelling in spellings if spelling.exists()), path)
