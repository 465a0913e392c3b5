"""What commands write, reduced to what does not depend on the machine.

The tests here freeze what users and other programs see: files, figures of files, terminal output, pages. They go
through the command line and through files, and import little, so that code may move.
"""

import difflib
import hashlib
import io
import json
import re
from collections import Counter
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, RenderableType

import sottovoce
from sottovoce.statistics.accuracy import normalize, word_errors
from tests.support.commands import output_of

GOLDEN = Path(__file__).parent / "golden"
MADE_BEFORE = Path(__file__).parent / "made_before"
"""Results of schema version 7 as they were written in November 2026. Not to be rewritten: they must load for ever."""

WIDTH = 200

Json = Any
"""What `json.loads` returns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """Compares text with the files of `golden`; `--accept` rewrites them."""

    accepts: bool

    def check(self, name: str, found: str) -> None:
        """Compare text with a golden file; where it differs it is kept beside the file as NAME.actual."""
        path = GOLDEN / name
        actual = path.with_name(f"{name}.actual")
        found = found.rstrip("\n") + "\n"
        if self.accepts:
            path.parent.mkdir(exist_ok=True)
            path.write_text(found, encoding="utf-8")
        expected = path.read_text(encoding="utf-8") if path.is_file() else ""
        if found == expected:
            actual.unlink(missing_ok=True)
            return
        actual.write_text(found, encoding="utf-8")
        diff = difflib.unified_diff(expected.splitlines(), found.splitlines(), name, actual.name, lineterm="")
        pytest.fail("\n".join(diff), pytrace=False)

    def check_json(self, name: str, found: Json) -> None:
        self.check(name, json.dumps(found, indent=1, ensure_ascii=False))


def render(*tables: RenderableType | None) -> str:
    """Draw tables as a terminal of a fixed width without colours shows them."""
    console = Console(file=io.StringIO(), width=WIDTH, no_color=True, color_system=None)
    with console.capture() as captured:
        for table in tables:
            console.print("(none)" if table is None else table)
    return without_ends(captured.get())


def without_ends(text: str) -> str:
    """Drop white space at the ends of lines."""
    return "\n".join(line.rstrip() for line in text.splitlines())


NAMED = {"versions", "toolchain", "nodes", "macs_per_s"}
"""Dictionaries whose keys are the machine's: libraries that are installed, types that the CPU computes in."""

OPEN = {"recipe", "throttled", "drift", "length_ratio", "statistic", "p_value", "more_clips"}
"""Keys whose content is frozen elsewhere, or is null or not as it was measured."""


def structure(value: Json, *, key: str = "") -> Json:
    """Replace values by the names of their types, and the items of a list by the one structure that they share."""
    if key in OPEN:
        return "any"
    if key in NAMED:
        return {"NAME": _union([structure(found) for found in value.values()])}
    if isinstance(value, dict):
        return {name: structure(found, key=name) for name, found in value.items()}
    if isinstance(value, list):
        return [_union([structure(item, key=key) for item in value])] if value else []
    if key in {"schema_version", "format_version"}:
        return value
    return "null" if value is None else type(value).__name__


def _union(items: list[Json]) -> Json:
    """Merge the structures of several values: each that occurs, those of dictionaries key by key."""
    distinct = [item for place, item in enumerate(items) if item not in items[:place]]
    if len(distinct) == 1:
        return distinct[0]
    dicts = [item for item in distinct if isinstance(item, dict)]
    lists = [item for item in distinct if isinstance(item, list)]
    merged: list[Json] = sorted(item for item in distinct if isinstance(item, str))
    if dicts:
        names = dict.fromkeys(name for item in dicts for name in item)
        merged.append({name: _union([item.get(name, "absent") for item in dicts]) for name in names})
    if lists:
        merged.append([_union([item for found in lists for item in found])])
    return merged[0] if len(merged) == 1 else {"one of": merged}


BLOCKS = {
    "p", "div", "section", "article", "main", "header", "footer", "nav", "h1", "h2", "h3", "h4", "li", "tr", "caption",
    "summary", "details", "figure", "figcaption", "svg", "title", "desc", "dt", "dd", "pre", "table", "thead", "tbody",
    "label", "button", "option", "audio",
}  # fmt: skip
CELLS = {"td", "th", "text"}
HIDDEN = {"script", "style"}


class VisibleText(HTMLParser):
    """Collects the text of a page: a line for each block, ` | ` between cells."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self._parts: list[str] = []
        self._hidden = 0
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._hidden += tag in HIDDEN
        self._break(tag)
        self._parts += [
            f"[{value}]" for name, value in attrs if name in {"alt", "aria-label", "title", "placeholder"}
        ]

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in HIDDEN
        self._break(tag)

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self._parts.append(" ".join(data.split("\n")))

    def _break(self, tag: str) -> None:
        if tag in BLOCKS:
            self._parts.append("\n")
        elif tag in CELLS:
            self._parts.append("\t")

    @property
    def lines(self) -> str:
        found = (
            " | ".join(" ".join(cell.split()) for cell in line.split("\t") if cell.strip())
            for line in "".join(self._parts).split("\n")
        )
        return "\n".join(line for line in found if line)


RANGE = r"│ +-?\d+(?:\.\d+)? │ +-?\d+(?:\.\d+)? │ +\d+(?:\.\d)? │(?= +\d+ │\n)"
"""The range of an activation and its zero point in the tables of the doctor."""


def without_figures(text: str) -> str:
    """Replace what differs from machine to machine, or from version to version: rounding errors, hashes, our version."""
    text = re.sub(r"\b\d\.\de-\d\d\b", "1e-N", text)
    text = re.sub(RANGE, "│ LOW │ HIGH │ ZERO │", text)
    text = re.sub(r"\b[0-9a-f]{16,64}\b", "HASH", text)
    return text.replace(sottovoce.__version__, "VERSION")


UNSTABLE = {"created", "sha256", "plan_sha256", "host", "versions", "toolchain", "text", "tokens"}
"""Keys of which only the structure is stable."""


def stable(value: Json, *, key: str = "") -> Json:
    """Replace what differs from machine to machine in a manifest by the names of the types."""
    if key in UNSTABLE or key.endswith("_bytes") or isinstance(value, float):
        return structure(value, key=key)
    if isinstance(value, dict):
        return {name: stable(found, key=name) for name, found in value.items()}
    if isinstance(value, list):
        return [stable(item) for item in value]
    return value.replace(sottovoce.__version__, "VERSION") if isinstance(value, str) else value


def count_layers(graph: Path) -> dict[str, int]:
    """Count the quantization layers of an OpenVINO IR, and its constants by element type.

    Read from the file, so that what counts is what was written and no code of ours.
    """
    text = graph.read_text(encoding="utf-8")
    types = re.findall(r'<layer [^>]*\btype="(\w+)"', text)
    constants = re.findall(r'type="Const"[^>]*>\s*<data element_type="(\w+)"', text)
    counted = Counter(f"constants of {kind}" for kind in constants if kind in {"i8", "u8", "i4", "u4"})
    counted.update(kind for kind in types if kind in {"FakeQuantize", "FakeConvert"})
    return dict(sorted(counted.items()))


def count_operators(graph: Path) -> dict[str, int]:
    """Count the quantized operators of an ONNX graph."""
    import onnx

    nodes = onnx.load(graph, load_external_data=False).graph.node
    quantized = ("Quantize", "Integer", "NBits", "QLinear")
    counted = Counter(node.op_type for node in nodes if any(word in node.op_type for word in quantized))
    return dict(sorted(counted.items()))


N_CLIPS, MAX_CLIP_S = 16, 6.0
MAX_WER = 0.15
"""whisper-tiny.en has 0.09 in float32 on these clips, and 0.11 as int8-fast."""
SOURCE = "librispeech-test-clean"
INSTRUCTIONS = {
    "avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8",
    "asimd", "asimddp", "i8mm", "bf16", "sve",
}  # fmt: skip


def cpu_level() -> str:
    """Name the instruction sets that inference chooses its kernels by."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    found = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    return " ".join(sorted(INSTRUCTIONS & set(found[1].split()))) if found else "unknown"


def check_transcripts(
    golden: Golden,
    name: str,
    variant: Path,
    manifest: Path,
    work: Path,
    *,
    sampled: frozenset[str] = frozenset(),
) -> None:
    """Hold what a variant makes of short clips of real speech against their texts, and against what it made before.

    Another CPU rounds differently and may give other words: digests are kept by its instruction sets, and are not
    compared where those of this machine were never recorded. `sampled` names clips that a library decodes by chance.
    """
    clips = _short_clips(manifest)
    audio = [path for path, _ in clips.values()]
    output_of("transcribe", variant, *audio, "--output-dir", work / name, "--threads", 2)
    said = {
        clip_id: (work / name / f"{path.stem}.txt").read_text(encoding="utf-8")
        for clip_id, (path, _) in clips.items()
    }
    expected = " ".join(normalize(text, "en") for _, text in clips.values())
    found = " ".join(normalize(text, "en") for text in said.values())
    assert word_errors(expected, found).wer <= MAX_WER
    path, cpu = GOLDEN / f"transcripts-{name}.json", cpu_level()
    recorded = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if cpu not in recorded and not golden.accepts:
        pytest.skip(f"transcripts were not recorded on a CPU with {cpu}; --accept records them")
    digests = {
        clip_id: hashlib.sha256(text.encode()).hexdigest()[:16]
        for clip_id, text in said.items()
        if clip_id not in sampled
    }
    golden.check_json(path.name, recorded | {cpu: digests})


def _short_clips(manifest: Path) -> dict[str, tuple[Path, str]]:
    """Return audio and text of a few evaluation clips, by their ids."""
    rows = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    fitting = [
        row
        for row in rows
        if (row["split"], row["source"]) == ("eval", SOURCE) and row["duration_s"] <= MAX_CLIP_S
    ]
    chosen = sorted(fitting, key=lambda row: row["id"])[:N_CLIPS]
    assert len(chosen) == N_CLIPS
    return {row["id"]: (manifest.parent / row["audio"], row["text"]) for row in chosen}
