"""A run's checkpoint in the formats of other engines: converted once, kept beside the checkpoints."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path

from sottovoce.benchmark.engines.ggml_export import GGML_EXPORT, GgmlType, export_ggml
from sottovoce.benchmark.engines.whisper_cpp_model import FILE_NAME
from sottovoce.benchmark.entries import WHISPER_CPP
from sottovoce.optimize.checkpoint.files import weight_files
from sottovoce.optimize.checkpoint.resolve import Checkpoint, default_cache
from sottovoce.optimize.ctranslate2.export import export_ctranslate2
from sottovoce.storage.artifacts import canonical_sha256, sha256_of_file
from sottovoce.terms import Ctranslate2Type


def convert_checkpoint(checkpoint: Checkpoint, engine: str, kind: str, *, cache: Path | None = None) -> Path:
    """Convert a Hugging Face checkpoint for an engine, once.

    For faster-whisper the weights are stored in INT8. CTranslate2 computes the same from float16 weights loaded as
    int8; these are smaller, load faster and are rounded once instead of twice.

    Args:
        checkpoint: the hash of its weights and settings names the result.
        engine: `whisper.cpp`, or one of faster-whisper's.
        kind: the type of the weights, as the engine calls it.
        cache: where the result is kept; the user's checkpoint cache by default.

    Returns:
        A folder that the engine loads.

    Raises:
        InputError: the checkpoint cannot be converted.
    """
    from filelock import FileLock

    if engine == WHISPER_CPP:
        made_by, write = f"ggml-{GGML_EXPORT}-{version('gguf')}", partial(_write_ggml, kind=GgmlType(kind))
    else:
        made_by = f"ctranslate2-{version('ctranslate2')}"
        write = partial(export_ctranslate2, kind=Ctranslate2Type(kind))
    cache = cache or default_cache()
    folder = cache / f"{checkpoint.name}-{_digest(checkpoint.folder)[:16]}-{made_by}-{kind}"
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / f"{folder.name}.lock"):
        if not folder.is_dir():
            with _work_folder(folder) as work:
                write(checkpoint.folder, work)
                work.rename(folder)
    return folder


def _write_ggml(checkpoint: Path, into: Path, *, kind: GgmlType) -> None:
    export_ggml(checkpoint, into / FILE_NAME, kind)


@contextmanager
def _work_folder(folder: Path) -> Iterator[Path]:
    work = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        yield work
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


def _digest(folder: Path) -> str:
    parts = sorted((*weight_files(folder), *folder.glob("*.json")))
    return canonical_sha256([(part.name, sha256_of_file(part)) for part in parts])
