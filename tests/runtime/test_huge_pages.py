"""Huge pages: where they fit, that they come, that values stay."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from sottovoce.runtime.model.openvino.huge_pages import HUGE_PAGE_BYTES, SETTING, is_allowed, move, spans

MIB = 1024 * 1024


def maps_line(start: int, end: int, *, access: str = "rw-p", inode: int = 0, name: str = "") -> str:
    return f"{start:x}-{end:x} {access} 00000000 00:00 {inode} {name}".rstrip()


def test_only_whole_huge_pages_of_own_memory_are_taken() -> None:
    lines = [
        maps_line(1 * MIB, 7 * MIB, name="[heap]"),
        maps_line(8 * MIB, 12 * MIB),
        maps_line(13 * MIB, 14 * MIB),
        maps_line(16 * MIB, 20 * MIB, access="r--p"),
        maps_line(20 * MIB, 24 * MIB, inode=7, name="/lib/libc.so"),
        maps_line(24 * MIB, 28 * MIB, name="[stack]"),
        maps_line(28 * MIB, 32 * MIB, access="rw-s"),
    ]
    assert list(spans(lines)) == [(2 * MIB, 4 * MIB), (8 * MIB, 4 * MIB)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("always [madvise] never", True), ("[always] madvise never", True), ("always madvise [never]", False)],
)
def test_an_administrator_may_turn_them_off(tmp_path: Path, text: str, expected: bool) -> None:  # noqa: FBT001
    setting = tmp_path / "enabled"
    setting.write_text(text, encoding="ascii")
    assert is_allowed(setting) is expected


def test_a_system_without_the_setting_has_none(tmp_path: Path) -> None:
    assert not is_allowed(tmp_path / "nothing")


def huge_kib() -> int:
    found = re.search(r"^AnonHugePages:\s+(\d+)", Path("/proc/self/smaps_rollup").read_text(), re.MULTILINE)
    return int(found[1]) if found else 0


@pytest.mark.skipif(sys.platform != "linux", reason="huge pages on request are Linux's")
def test_what_is_moved_keeps_its_values() -> None:
    if not is_allowed(SETTING):
        pytest.skip("this system gives no huge pages")
    values = np.random.default_rng(0).standard_normal(16 * HUGE_PAGE_BYTES // 4, dtype=np.float32)
    before, copy = huge_kib(), values.copy()
    moved = move()
    np.testing.assert_array_equal(values, copy)
    if moved == 0:
        pytest.skip("this kernel has no free huge pages, or is older than 6.1")
    assert huge_kib() >= before
