"""The folder of a model that a path means: that of a bundle after it is checked, or the path itself.

What opens bundles is imported for a bundle only: it takes as long to import as all else that commands need.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sottovoce.bundle.device.verify import MANIFEST_NAME
from sottovoce.errors import InputError

ARCHIVE_SUFFIXES = frozenset({".gz", ".tgz"})


@contextmanager
def open_model(path: Path) -> Iterator[Path]:
    """Yield the folder of a model: that of a bundle after it is checked; any other path unchanged.

    Raises:
        InputError: it is a file that cannot be a bundle.
        BundleError: the bundle is damaged, or this CPU would give wrong words.
    """
    if not (path.is_file() or (path / MANIFEST_NAME).is_file()):
        yield path
        return
    from sottovoce.bundle.archive import is_gzip
    from sottovoce.bundle.manifest import MODEL_FOLDER
    from sottovoce.bundle.open_bundle import check_cpu, open_bundle

    if path.is_file() and path.suffix not in ARCHIVE_SUFFIXES and not is_gzip(path):
        raise InputError(
            f"{path} is a file, want a model: the folder of a run, of a variant or of a bundle, or a bundle as .tar.gz"
        )
    with open_bundle(path) as bundle:
        check_cpu(bundle.manifest)
        yield bundle.folder / MODEL_FOLDER
