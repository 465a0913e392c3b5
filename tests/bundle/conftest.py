"""A bundle of the tiny run, made once."""

import resource
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from sottovoce.bundle.build import Built, build
from sottovoce.bundle.contents import BundleSpec
from sottovoce.progress import Silent
from sottovoce.runs import read_run
from sottovoce.speech.synthetic import demo_speech


@pytest.fixture(scope="session")
def built(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Hold a bundle of the variant int8, without wheels but sottovoce's own. Not to be changed."""
    out = tmp_path_factory.mktemp("bundles") / "tiny.tar.gz"
    spec = BundleSpec(variant="int8", speech=demo_speech(), least_rtfx=0.01)
    return build(read_run(tiny_run), spec, out, Silent())


@pytest.fixture(scope="session")
def opened(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hold the folder of the bundle, unpacked by Python's `tarfile`. Not to be changed."""
    import tarfile

    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(built.path) as archive:
        archive.extractall(folder, filter="data")
    return folder / built.manifest.name


@pytest.fixture
def files_limited_to() -> Callable[[int], AbstractContextManager[None]]:
    """Hold a limit on the size of files, in bytes: it stands in for a full disk."""

    @contextmanager
    def limited(size_bytes: int) -> Iterator[None]:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, limits[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    return limited
