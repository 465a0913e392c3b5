"""Graphs over a mapping of our own: the same results, and pages that can be given back."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import openvino
import pytest
from openvino import opset13 as ops

from sottovoce.errors import InputError
from sottovoce.runtime.model.openvino.memory import GraphFile, give_back_freed

WIDTH = 2048
"""The weights of the graph take 16 MB."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    given = ops.parameter([1, WIDTH], np.float32)
    weights = ops.constant(rng.standard_normal((WIDTH, WIDTH), dtype=np.float32))
    openvino.save_model(
        openvino.Model([ops.matmul(given, weights, transpose_a=False, transpose_b=False)], [given]),
        tmp_path / "graph.xml",
        compress_to_fp16=False,
    )
    return tmp_path / "graph.xml"


def resident_mb(name: str) -> float:
    """Return how much of a mapped file is in memory."""
    parts = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text(), flags=re.MULTILINE)
    sizes = [re.search(r"^Rss:\s+(\d+)", p, re.MULTILINE) for p in parts if name in p.split("\n", 1)[0]]
    return sum(int(size[1]) for size in sizes if size) / 1024


def run(graph: openvino.Model) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    compiled = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    result: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = compiled([np.ones((1, WIDTH), np.float32)])[0]
    return result.copy()


def test_a_graph_gives_what_openvino_reads(path: Path) -> None:
    file = GraphFile(path)
    np.testing.assert_array_equal(run(file.read()), run(openvino.Core().read_model(path)))


def test_pages_given_back_are_read_again_when_needed(path: Path) -> None:
    if not Path("/proc/self/smaps").is_file():
        pytest.skip("needs /proc/self/smaps to see what is resident")
    file = GraphFile(path)
    before = run(file.read())
    assert resident_mb(str(path.with_suffix(".bin"))) > 15
    file.give_back()
    assert resident_mb(str(path.with_suffix(".bin"))) == 0
    np.testing.assert_array_equal(run(file.read()), before)


@pytest.mark.parametrize("suffix", [".xml", ".bin"])
def test_a_missing_file_is_refused(path: Path, suffix: str) -> None:
    path.with_suffix(suffix).unlink()
    with pytest.raises(InputError, match=r"graph\.xml.*make the variant again"):
        GraphFile(path)


def test_empty_weights_are_refused(path: Path) -> None:
    path.with_suffix(".bin").write_bytes(b"")
    with pytest.raises(InputError, match="make the variant again"):
        GraphFile(path)


@pytest.mark.parametrize("kept_bytes", [1000, WIDTH * WIDTH])
def test_weights_cut_short_are_refused(path: Path, kept_bytes: int) -> None:
    weights = path.with_suffix(".bin")
    weights.write_bytes(weights.read_bytes()[:kept_bytes])
    with pytest.raises(InputError, match="damaged"):
        GraphFile(path)


def test_a_graph_that_is_none_is_refused(path: Path) -> None:
    path.write_text("<net>")
    with pytest.raises(InputError, match="damaged"):
        GraphFile(path)


def test_a_graph_that_openvino_does_not_know_is_refused(path: Path) -> None:
    path.write_text("<net/>")
    file = GraphFile(path)
    with pytest.raises(InputError, match="damaged"):
        file.read()


def test_giving_back_what_was_freed_can_be_repeated() -> None:
    give_back_freed()
    give_back_freed()


KEPT_OF_FREED = """
import numpy as np
from sottovoce.machine.resources import PeakMemory, peak_rss_bytes
from sottovoce.runtime.model.openvino.memory import map_large_blocks

map_large_blocks()
np.ones(BLOCK, np.uint8)
with PeakMemory() as before:
    pass
blocks = [(np.ones(BLOCK, np.uint8), np.ones(BLOCK // 16, np.uint8)) for _ in range(10)]
others = [other for _, other in blocks]
del blocks
with PeakMemory() as after:
    pass
print(after.peak_bytes - before.peak_bytes)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's peak is reset on Linux alone")
def test_large_blocks_that_were_freed_between_others_go_back_to_the_system() -> None:
    block_bytes = 8 << 20
    code = KEPT_OF_FREED.replace("BLOCK", str(block_bytes))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 2 * block_bytes
