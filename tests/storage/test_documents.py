"""Documents and JSON lines: what is written is read again, and a damaged file is one clear error."""

from pathlib import Path

import pytest

from sottovoce.errors import InputError
from sottovoce.storage.documents import Document, read_document, read_json_lines, write_json_lines


class Line(Document):
    name: str
    numbers: tuple[int, ...] = ()


def test_written_lines_are_read_again(tmp_path: Path) -> None:
    rows = (Line(name="a\u2028b", numbers=(1, 2)), Line(name=""))
    write_json_lines(tmp_path / "rows.jsonl", rows)
    assert read_json_lines(tmp_path / "rows.jsonl", Line, advice="again") == rows


def test_empty_lines_are_skipped(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('\n{"name": "a"}\n \n')
    assert read_json_lines(tmp_path / "rows.jsonl", Line, advice="again") == (Line(name="a"),)


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b'{"name": 7}', "name: Input should be a valid string"),
        (b'{"name": "a", "numbers": [1, "2"]}', "numbers.1: Input should be a valid integer"),
        (b'{"name": "a", "more": 1}', "more: Extra inputs are not permitted"),
        (b'{"name": "a"', "Invalid JSON"),
        (b'{"name": "\xff"}', "Invalid JSON"),
    ],
)
def test_a_damaged_document_is_an_error_that_names_file_key_and_remedy(
    raw: bytes, problem: str, tmp_path: Path
) -> None:
    path = tmp_path / "document.json"
    path.write_bytes(raw)
    for read in (read_document, read_json_lines):
        with pytest.raises(InputError) as caught:
            read(path, Line, advice="make it again")
        assert str(caught.value).startswith(f"{path} is damaged or of another version ({problem}")
        assert str(caught.value).endswith("); make it again")


def test_a_missing_document_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json is damaged .*No such file"):
        read_document(tmp_path / "none.json", Line, advice="make it again")
