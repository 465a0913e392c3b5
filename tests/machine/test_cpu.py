"""Which instructions this process may use, and what a limit hides of them."""

import sys

import pytest

from sottovoce.machine import cpu
from sottovoce.machine.cpu import BF16, LIMIT_NAMES, VNNI, X86, lacks_all, usable_flags, why_lacking
from sottovoce.machine.environment import read_host

SAPPHIRE_RAPIDS = frozenset(
    {"fpu", "avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_int8", "amx_bf16"}
)
ZEN_3 = frozenset({"fpu", "avx2"})


@pytest.fixture
def x86(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An x86 CPU with all instruction sets, and no limit."""
    for name in LIMIT_NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(cpu, "architecture", lambda: X86)
    monkeypatch.setattr(cpu, "cpu_flags", lambda: SAPPHIRE_RAPIDS)
    return monkeypatch


@pytest.mark.parametrize(
    ("limit", "has_vnni", "has_bf16"),
    [
        ("SSE41", False, False),
        ("AVX2", False, False),
        ("avx2", False, False),
        ("AVX2_VNNI", True, False),
        ("AVX512_CORE", False, False),
        ("AVX512_CORE_VNNI", True, False),
        ("AVX512_CORE_BF16", True, True),
        ("AVX512_CORE_AMX", True, True),
        ("DEFAULT", True, True),
        ("no such name", True, True),
    ],
)
@pytest.mark.parametrize("name", LIMIT_NAMES)
def test_a_limit_hides_instructions(
    x86: pytest.MonkeyPatch, name: str, limit: str, *, has_vnni: bool, has_bf16: bool
) -> None:
    x86.setenv(name, limit)
    assert lacks_all(VNNI) is not has_vnni
    assert lacks_all(BF16) is not has_bf16
    assert usable_flags() is not None
    assert "fpu" in (usable_flags() or ())


def test_a_limit_does_not_give_a_cpu_what_it_lacks(x86: pytest.MonkeyPatch) -> None:
    x86.setattr(cpu, "cpu_flags", lambda: ZEN_3)
    x86.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_VNNI")
    assert lacks_all(VNNI)
    assert why_lacking(VNNI) == "this CPU does not have"


def test_the_reason_names_the_limit(x86: pytest.MonkeyPatch) -> None:
    x86.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert why_lacking(VNNI) == "ONEDNN_MAX_CPU_ISA=AVX2 hides"


def test_nothing_is_said_to_be_missing_where_flags_are_unknown_or_on_arm(x86: pytest.MonkeyPatch) -> None:
    x86.setattr(cpu, "cpu_flags", lambda: None)
    assert not lacks_all(VNNI)
    x86.setattr(cpu, "cpu_flags", lambda: frozenset({"asimd"}))
    x86.setattr(cpu, "architecture", lambda: "aarch64")
    assert not lacks_all(VNNI)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_host_in_results_has_the_instructions_that_a_limit_leaves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cpu, "architecture", lambda: X86)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert set(read_host().instruction_sets) <= {"avx2"}
