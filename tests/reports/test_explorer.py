from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from sottovoce.benchmark.schema.clips import ClipRow, SpokenWord
from sottovoce.benchmark.schema.results import Results
from sottovoce.reports.report import write_report
from sottovoce.reports.transcripts import explorer as explorer_module
from sottovoce.reports.transcripts.changes import TranscriptLine, direction_of, find_changes
from sottovoce.reports.transcripts.explorer import Audio, Explorer, build_explorer, read_audio
from sottovoce.reports.transcripts.words import start_times
from tests.support.detailed_results import PEER, build_detailed_sample, write_tones
from tests.support.pages import Page
from tests.support.results import Sample

Save = Callable[[Results, tuple[ClipRow, ...], Path], Path]


@pytest.fixture(scope="module")
def sample() -> Sample:
    return build_detailed_sample()


def explore(sample: Sample, audio: Audio | None = None) -> Explorer:
    return build_explorer(sample.results, sample.rows, lambda _: audio or Audio())


def audio_names(sample: Sample) -> set[str]:
    return {str(change.audio) for change in find_changes(sample.results, sample.rows)}


def texts(line: TranscriptLine) -> list[str]:
    return [word.text for word in line.words]


def test_words_stand_under_one_another(sample: Sample) -> None:
    clip = next(clip for clip in explore(sample).shown if clip.variant == "int8" and "0005" in clip.clip_id)
    reference, baseline, variant = clip.lines
    index = texts(variant).index("a")
    assert (texts(reference)[index], texts(baseline)[index]) == ("", "")
    assert texts(reference)[index + 1] == texts(variant)[index + 1] == "half"
    widths = [[word.columns for word in line.words] for line in clip.lines]
    assert widths[0] == widths[1] == widths[2]


def test_a_long_word_is_cut(sample: Sample) -> None:
    rows = tuple(
        row.model_copy(update={"normalized_hypothesis": f"{row.variant}{'ha' * 500}"}) for row in sample.rows
    )
    clip = explore(Sample(results=sample.results, rows=rows)).shown[0]
    assert max(word.columns for line in clip.lines for word in line.words) == 28
    assert any(word.is_cut for word in clip.lines[2].words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    words: str
    spoken: tuple[tuple[str, float], ...]
    starts: tuple[float | None, ...]
    by_character: bool = False


@pytest.mark.parametrize(
    "case",
    [
        Case(words="hello world", spoken=((" Hello,", 0.5), (" world.", 1.0)), starts=(0.5, 1.0)),
        Case(words="22 boats", spoken=(("Twenty", 0.5), ("two", 0.8), ("boats", 1.0)), starts=(0.5, 1.0)),
        Case(words="it is late", spoken=(("It's", 0.5), ("late", 1.0)), starts=(0.5, 0.5, 1.0)),
        Case(words="said again", spoken=(("again", 2.0),), starts=(2.0, 2.0)),
        Case(words="no times", spoken=(), starts=(None, None)),
        Case(words="a b", spoken=(("a", float("nan")), ("b", 1.0)), starts=(1.0, 1.0)),
        Case(words="今 日", spoken=(("今日", 1.0),), starts=(1.0, 1.25), by_character=True),
    ],
    ids=lambda case: case.words,
)
def test_a_normalized_word_has_the_start_time_of_its_spoken_word(case: Case) -> None:
    spoken = tuple(SpokenWord(text=text, start_s=start, end_s=start + 0.5) for text, start in case.spoken)
    found = start_times(case.words.split(), spoken, by_character=case.by_character)
    if case.words == "22 boats":  # either word of "twenty two" will do
        assert found[0] in {0.5, 0.8}
        found = (0.5, *found[1:])
    assert found == case.starts


def test_clips_can_be_filtered_by_the_properties_that_differ(sample: Sample) -> None:
    filters = {found.label: found.values for found in explore(sample).filters}
    assert filters["Variant"] == (PEER, "int8", "fp16")
    assert filters["Length"] == ("under 5 s", "5 to 10 s")
    assert filters["Source"] == ("fleurs", "librispeech")
    assert "Language" not in filters
    assert all(len(clip.filter_values) == len(filters) for clip in explore(sample).shown)


def test_a_clip_lists_its_facts(sample: Sample) -> None:
    clip = next(clip for clip in explore(sample).shown if clip.variant == "int8" and "0001" in clip.clip_id)
    assert clip.facts[0] == "0 errors became 1, of 13 words"
    assert "timed while the machine was disturbed" in clip.facts
    assert {"11 dB over noise", "librispeech", "speaker 1189"} <= set(clip.facts)


def test_the_audio_of_a_clip_is_in_the_page_once(sample: Sample) -> None:
    names = audio_names(sample)
    clips = explore(sample, Audio(files=dict.fromkeys(names, b"ID3"))).shown
    assert sum(clip.audio is not None for clip in clips) == len(names) < len(clips)
    anchors = {clip.anchor: clip for clip in clips}
    for clip in clips:
        if clip.audio_at is not None:
            assert anchors[clip.audio_at].clip_id == clip.clip_id
            assert anchors[clip.audio_at].audio is not None


def test_audio_is_capped_and_the_page_says_so(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{index}.mp3" for index in range(4)]
    for name in names:
        (tmp_path / name).write_bytes(b"x" * 100)
    monkeypatch.setattr(explorer_module, "MAX_BYTES", 250)
    found = read_audio(tmp_path, [*names, names[0], "missing.mp3"])
    assert (list(found.files), found.n_left_out) == (names[:2], 2)
    monkeypatch.setattr(explorer_module, "MAX_CLIPS", 1)
    assert list(read_audio(tmp_path, names).files) == names[:1]
    note = explore(sample, found).audio_note
    assert note is not None
    assert "2 clips, the most harmful ones" in note
    assert "2 more is in the results folder" in note


def test_a_report_takes_its_audio_from_the_results_folder(sample: Sample, save: Save, tmp_path: Path) -> None:
    folder = save(sample.results, sample.rows, tmp_path / "results")
    write_tones(sample.rows, folder)
    page = Page(write_report(folder, tmp_path / "report.html", force=False).read_text(encoding="utf-8"))
    sources = [attributes["src"] for tag, attributes in page.tags if tag == "audio"]
    assert len(sources) == len(audio_names(sample))
    assert all(source.startswith("data:audio/mpeg;base64,") for source in sources)
    assert sum("data-start" in attributes for _, attributes in page.tags) > 100


def test_recordings_can_be_left_out(sample: Sample, save: Save, tmp_path: Path) -> None:
    folder = save(sample.results, sample.rows, tmp_path / "results")
    write_tones(sample.rows, folder)
    out = write_report(folder, tmp_path / "report.html", force=False, has_audio=False)
    assert not Page(out.read_text(encoding="utf-8")).has("audio")


@pytest.mark.parametrize(("text", "direction"), [("12 hello", "ltr"), ("\u05e9\u05dc", "rtl"), ("", "ltr")])
def test_the_first_letter_gives_the_direction_of_a_text(text: str, direction: str) -> None:
    assert direction_of(text) == direction
