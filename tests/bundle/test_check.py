"""`sottovoce verify`, and a bundle as a model."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sottovoce.bundle import open_bundle as opening
from sottovoce.bundle.build import Built
from sottovoce.bundle.check import check_bundle
from sottovoce.bundle.device import verify
from sottovoce.bundle.manifest import Floors
from sottovoce.bundle.open_model import open_model
from sottovoce.bundle.self_test import GoldenOutcome, agreement, find_problems
from sottovoce.cli.app import app
from sottovoce.errors import BundleError
from sottovoce.speech.synthetic import demo_speech


def test_the_self_test_of_a_good_bundle_passes(built: Built) -> None:
    checked = check_bundle(built.path, with_self_test=True)
    assert checked.problems == ()
    assert checked.self_test is not None
    assert [clip.token_agreement for clip in checked.self_test.clips] == [1, 1, 1]
    assert checked.self_test.rtfx > 0
    assert checked.self_test.peak_rss_bytes > 50e6


def test_a_model_with_other_transcripts_fails() -> None:
    clips = (GoldenOutcome(path="golden/x", token_agreement=0.5, text="no", expected_text="yes"),)
    floors = Floors(rtfx=2, peak_rss_bytes=1_000_000, token_agreement=0.9)
    problems = find_problems(floors, clips, rtfx=1.0, peak=2_000_000)
    assert [line.split(":")[0] for line in problems[:1]] == ["golden/x"]
    assert "1.00 s of audio per second, want 2" in problems[1]
    assert "2 MB of memory" in problems[2]
    assert find_problems(floors, (), rtfx=2.0, peak=1_000_000) == []


@pytest.mark.parametrize(
    ("expected", "found", "share"),
    [((1, 2, 3, 4), (1, 2, 3, 4), 1.0), ((1, 2, 3, 4), (1, 9, 3, 4), 0.75), ((1, 2), (), 0.0), ((), (), 1.0)],
)
def test_agreement_counts_tokens_in_common(
    expected: tuple[int, ...], found: tuple[int, ...], share: float
) -> None:
    assert agreement(expected, found) == pytest.approx(share)


def test_the_command_prints_json_and_sets_its_exit_code(built: Built, opened: Path, tmp_path: Path) -> None:
    good = CliRunner().invoke(app, ["verify", str(built.path), "--json"])
    assert good.exit_code == 0
    assert json.loads(good.stdout)["is_whole"]
    folder = tmp_path / "bundle"
    shutil.copytree(opened, folder)
    (folder / "new").write_bytes(b"")
    bad = CliRunner().invoke(app, ["verify", str(folder), "--json"])
    assert isinstance(bad.exception, BundleError)
    assert str(bad.exception).count(str(folder)) == 1
    assert json.loads(bad.stdout)["problems"]


def test_a_cpu_that_would_give_wrong_words_is_refused(built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "architecture", lambda: "x86_64")
    monkeypatch.setattr(opening, "usable_flags", lambda: frozenset({"avx2"}))
    with pytest.raises(BundleError, match="int8-no-vnni"), open_model(built.path):
        pytest.fail("it was opened")
    checked = check_bundle(built.path, with_self_test=True)
    assert checked.is_whole
    assert checked.self_test is None
    assert "wrong words" in checked.problems[0]


def test_transcribe_takes_a_bundle(built: Built, opened: Path, tiny_run: Path) -> None:
    clip = str(demo_speech().parent / "clips" / "e01.flac")
    texts = {
        str(model): CliRunner().invoke(app, ["transcribe", str(model), clip, "--language", "en"]).stdout
        for model in (built.path, opened, tiny_run / "int8")
    }
    assert len(set(texts.values())) == 1
    assert next(iter(texts.values())).strip()


def test_transcribe_refuses_a_damaged_bundle(built: Built, tmp_path: Path) -> None:
    raw = bytearray(built.path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path = tmp_path / "bad.tar.gz"
    path.write_bytes(raw)
    done = CliRunner().invoke(app, ["transcribe", str(path), "x.wav"])
    assert isinstance(done.exception, BundleError)


def test_the_command_packs_a_bundle(tiny_run: Path, built: Built, tmp_path: Path) -> None:
    out = tmp_path / "tiny.tar.gz"
    arguments = ["bundle", str(tiny_run), "--out", str(out), "--min-rtfx", "0.01", "--json"]
    result = json.loads(CliRunner().invoke(app, arguments, catch_exceptions=False).stdout)
    assert result["sha256"] == built.sha256
    assert out.read_bytes() == built.path.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.tar.gz"]
    again = CliRunner().invoke(app, arguments)
    assert "exists already" in str(again.exception)


def forge(opened: Path, folder: Path, path: str, content: bytes) -> Path:
    """Copy a bundle with another file in it, and list that as it is."""
    shutil.copytree(opened, folder)
    (folder / path).write_bytes(content)
    manifest = json.loads((folder / "bundle.json").read_bytes())
    entry = next(entry for entry in manifest["files"] if entry["path"] == path)
    entry.update(size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    raw = json.dumps(manifest).encode()
    (folder / "bundle.json").write_bytes(raw)
    (folder / "bundle.json.sha256").write_bytes(verify.seal_of(raw))
    return folder


@pytest.mark.parametrize(
    "changed", [{"facts": None}, {"facts": {"inference_precision": "\x1b[2Jf33"}}, []], ids=str
)
def test_a_whole_bundle_without_sense_fails_its_self_test_and_says_why(
    changed: object, opened: Path, tmp_path: Path
) -> None:
    manifest = json.loads((opened / "model" / "manifest.json").read_bytes())
    content = json.dumps({**manifest, **changed} if isinstance(changed, dict) else changed).encode()
    folder = forge(opened, tmp_path / "bundle", "model/manifest.json", content)
    done = CliRunner().invoke(app, ["verify", str(folder), "--self-test", "--json"])
    assert isinstance(done.exception, BundleError)
    result = json.loads(done.stdout)
    assert (result["is_whole"], result["self_test"]) == (True, None)
    (problem,) = result["problems"]
    assert "its self-test cannot be run" in problem
    assert problem.isprintable()
