"""One word for one thing: words that `docs/explanation/architecture.md` replaced are in no name, page, help or error."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SUFFIXES = {".py", ".md", ".j2", ".js", ".css", ".yaml", ".toml"}

WORDS = [
    "told",
    "tell",
    "tells",
    "telling",
    "heard",
    "hear",
    "hears",
    "unheard",
    "asked",
    "spared",
    "waived",
    "besides",
    "nobody",
    "whoever",
    "somebody",
    "Heard",
    "Asked",
    "SecondLook",
    "TimedWave",
    "Course",
    "Gathered",
    "Procedure",
    "Absent",
    "Patient",
    "Unfinished",
    "GONE",
    "WhisperVariant",
    "Int8Variant",
    "QuantizeSpec",
    "transcribe_together",
    "hand_over_int8_keys",
    "cut_anew",
    "is_spent",
    "failed_peers",
]
"""Names count part by part: `told_compute` has "told"."""

PHRASES = ("comes of", "come of", "came of", "as it comes", "as they come", "parts with", "is had", "are had")

ANY_WORD = "|".join((*WORDS, *(word.capitalize() for word in WORDS)))
ANY_PHRASE = "|".join(PHRASES)
BANNED = re.compile(rf"(?<![A-Za-z])(?:{ANY_WORD})(?![A-Za-z])|\b(?:{ANY_PHRASE})\b")

ALLOWED = re.compile(r"\.tell\(|\bunheard\b|nobody in the village|He asked whether")
"""Methods of files and of Optuna, a key of `sensitivity.json` and `results.json`, sentences of the test speech."""

EXCEPTIONS = {
    "docs/lab-notes.md": "what was written when it was measured",
    "tests/test_vocabulary.py": "lists the words",
}
"""By path: why its words stay."""


def pages() -> Iterator[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in listed.stdout.split("\0"):
        path = ROOT / name
        if name not in EXCEPTIONS and path.suffix in SUFFIXES and not path.is_symlink() and path.is_file():
            yield path


def test_no_page_and_no_name_uses_a_word_that_was_replaced() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {' '.join(words)}"
        for path in pages()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if (words := BANNED.findall(ALLOWED.sub("", line)))
    ]
    assert found == []
