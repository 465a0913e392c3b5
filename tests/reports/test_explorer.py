from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from sottovoce.benchmark.schema.clips import ClipRow, SpokenWord
from sottovoce.benchmark.schema.results import Results
from sottovoce.reports.report import write_report
from sottovoce.reports.transcripts import audio as audio_module
from sottovoce.reports.transcripts.audio import Audio, read_audio
from sottovoce.reports.transcripts.changes import Line, direction_of
from sottovoce.reports.transcripts.explorer import Explorer, build_explorer, wanted_audio
from sottovoce.reports.transcripts.word_times import start_times
from tests.support.detailed_results import PEER, build_detailed_sample, write_tones
from tests.support.pages import Page
from tests.support.results import Sample

Save = Callable[[Results, tuple[ClipRow, ...], Path], Path]


@pytest.fixture(scope="module")
def sample() -> Sample:
    return build_detailed_sample()


def explore(sample: Sample, files: tuple[str, ...] = ()) -> Explorer:
    return build_explorer(sample.results, sample.rows, Audio(files=dict.fromkeys(files, b"ID3")))


def texts(line: Line) -> list[str]:
    return [piece.text for piece in line.pieces]


def test_words_stand_under_one_another(sample: Sample) -> None:
    clip = next(clip for clip in explore(sample).shown if clip.variant == "int8" and "0005" in clip.clip_id)
    reference, baseline, variant = clip.lines
    place = texts(variant).index("a")
    assert (texts(reference)[place], texts(baseline)[place]) == ("", "")
    assert texts(reference)[place + 1] == texts(variant)[place + 1] == "half"
    widths = [[piece.columns for piece in line.pieces] for line in clip.lines]
    assert widths[0] == widths[1] == widths[2]


def test_a_long_word_does_not_widen_its_place_without_end(sample: Sample) -> None:
    rows = tuple(
        row.model_copy(update={"normalized_hypothesis": f"{row.variant}{'ha' * 500}"}) for row in sample.rows
    )
    clip = explore(Sample(results=sample.results, rows=rows)).shown[0]
    assert max(piece.columns for line in clip.lines for piece in line.pieces) == 28
    assert any(piece.is_cut for piece in clip.lines[2].pieces)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    words: str
    spoken: tuple[tuple[str, float], ...]
    starts: tuple[float | None, ...]
    by_character: bool = False


@pytest.mark.parametrize(
    "case",
    [
        Told(words="hello world", spoken=((" Hello,", 0.5), (" world.", 1.0)), starts=(0.5, 1.0)),
        Told(words="22 boats", spoken=(("Twenty", 0.5), ("two", 0.8), ("boats", 1.0)), starts=(0.5, 1.0)),
        Told(words="it is late", spoken=(("It's", 0.5), ("late", 1.0)), starts=(0.5, 0.5, 1.0)),
        Told(words="said again", spoken=(("again", 2.0),), starts=(2.0, 2.0)),
        Told(words="nobody knows", spoken=(), starts=(None, None)),
        Told(words="a b", spoken=(("a", float("nan")), ("b", 1.0)), starts=(1.0, 1.0)),
        Told(words="今 日", spoken=(("今日", 1.0),), starts=(1.0, 1.25), by_character=True),
    ],
    ids=lambda case: case.words,
)
def test_a_normalized_word_starts_when_it_is_said(case: Told) -> None:
    spoken = tuple(SpokenWord(text=text, start_s=start, end_s=start + 0.5) for text, start in case.spoken)
    found = start_times(case.words.split(), spoken, by_character=case.by_character)
    if case.words == "22 boats":  # either word of "twenty two" will do
        assert found[0] in {0.5, 0.8}
        found = (0.5, *found[1:])
    assert found == case.starts


def test_clips_can_be_chosen_by_what_they_differ_in(sample: Sample) -> None:
    choices = {choice.label: choice.values for choice in explore(sample).choices}
    assert choices["Variant"] == (PEER, "int8", "fp16")
    assert choices["Length"] == ("under 5 s", "5 to 10 s")
    assert choices["Source"] == ("fleurs", "librispeech")
    assert "Language" not in choices
    assert all(len(clip.parts) == len(choices) for clip in explore(sample).shown)


def test_a_clip_tells_what_is_known_of_it(sample: Sample) -> None:
    clip = next(clip for clip in explore(sample).shown if clip.variant == "int8" and "0001" in clip.clip_id)
    assert clip.facts[0] == "0 errors became 1, of 13 words"
    assert "timed while the machine was disturbed" in clip.facts
    assert {"11 dB over noise", "librispeech", "speaker 1189"} <= set(clip.facts)


def test_the_audio_of_a_clip_is_in_the_page_once(sample: Sample) -> None:
    wanted = wanted_audio(sample.results, sample.rows)
    clips = explore(sample, wanted).shown
    assert sum(clip.audio is not None for clip in clips) == len(wanted) < len(clips)
    anchors = {clip.anchor: clip for clip in clips}
    for clip in clips:
        if clip.audio_at is not None:
            assert anchors[clip.audio_at].clip_id == clip.clip_id
            assert anchors[clip.audio_at].audio is not None


def test_audio_is_capped_and_the_page_says_so(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{place}.mp3" for place in range(4)]
    for name in names:
        (tmp_path / name).write_bytes(b"x" * 100)
    monkeypatch.setattr(audio_module, "MAX_BYTES", 250)
    found = read_audio(tmp_path, [*names, names[0], "missing.mp3"])
    assert (list(found.files), found.n_left_out) == (names[:2], 2)
    monkeypatch.setattr(audio_module, "MAX_CLIPS", 1)
    assert list(read_audio(tmp_path, names).files) == names[:1]
    note = build_explorer(sample.results, sample.rows, found).audio_note
    assert note is not None
    assert "2 clips, the most harmful ones" in note
    assert "2 more is in the results folder" in note


def test_a_report_takes_its_audio_from_the_results_folder(sample: Sample, save: Save, tmp_path: Path) -> None:
    folder = save(sample.results, sample.rows, tmp_path / "results")
    write_tones(sample.rows, folder)
    page = Page(write_report(folder, tmp_path / "report.html", force=False).read_text(encoding="utf-8"))
    sources = [attributes["src"] for tag, attributes in page.tags if tag == "audio"]
    assert len(sources) == len(wanted_audio(sample.results, sample.rows))
    assert all(source.startswith("data:audio/mpeg;base64,") for source in sources)
    assert sum("data-start" in attributes for _, attributes in page.tags) > 100


def test_recordings_can_be_left_out(sample: Sample, save: Save, tmp_path: Path) -> None:
    folder = save(sample.results, sample.rows, tmp_path / "results")
    write_tones(sample.rows, folder)
    out = write_report(folder, tmp_path / "report.html", force=False, has_audio=False)
    assert not Page(out.read_text(encoding="utf-8")).has("audio")


@pytest.mark.parametrize(("text", "direction"), [("12 hello", "ltr"), ("\u05e9\u05dc", "rtl"), ("", "ltr")])
def test_a_text_runs_as_its_first_letter_does(text: str, direction: str) -> None:
    assert direction_of(text) == direction
