"""A run's checkpoint for faster-whisper: converted by CTranslate2 once, kept beside the checkpoints."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from sottovoce.artifacts import canonical_sha256, sha256_of_file
from sottovoce.optimize.checkpoints import Checkpoint, default_cache
from sottovoce.optimize.ctranslate2_export import export_ctranslate2
from sottovoce.terms import Ctranslate2Type

QUANTIZATION = Ctranslate2Type.INT8
"""Of the weights on disk. CTranslate2 computes the same from float16 weights loaded as int8; these
are smaller, load faster and are rounded once instead of twice."""


def convert_checkpoint(checkpoint: Checkpoint, *, cache: Path | None = None) -> Path:
    """Convert a Hugging Face checkpoint to CTranslate2 with INT8 weights, once.

    Args:
        checkpoint: the hash of its weights and settings names the result.
        cache: where the result is kept; the user's checkpoint cache by default.

    Returns:
        A folder that faster-whisper loads.

    Raises:
        InputError: CTranslate2 cannot convert it.
    """
    from filelock import FileLock

    cache = cache or default_cache()
    name = f"{checkpoint.name}-{_digest(checkpoint.folder)[:16]}-ctranslate2-{version('ctranslate2')}"
    folder = cache / f"{name}-{QUANTIZATION}"
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / f"{folder.name}.lock"):
        if not folder.is_dir():
            with _work_folder(folder) as work:
                export_ctranslate2(checkpoint.folder, work, QUANTIZATION)
                work.rename(folder)
    return folder


@contextmanager
def _work_folder(folder: Path) -> Iterator[Path]:
    work = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        yield work
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


def _digest(folder: Path) -> str:
    parts = sorted((*folder.glob("*.safetensors"), *folder.glob("*.json")))
    return canonical_sha256([(part.name, sha256_of_file(part)) for part in parts])
