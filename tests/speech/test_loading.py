import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from sottovoce.errors import InputError
from sottovoce.speech.clips import Clip
from sottovoce.speech.loading import RejectedClip, load_clips


def clip(clip_id: str, *, duration_s: float = 0.5, peak: float = 0.3) -> Clip:
    file = io.BytesIO()
    sf.write(file, peak * np.sin(np.arange(int(duration_s * 8_000)) * 0.3), 8_000, format="WAV")
    return Clip(clip_id=clip_id, audio=file.getvalue())


def ramp_clip(clip_id: str, **facts: Any) -> Clip:
    """Make a clip of 11 s whose samples are their time in seconds, divided by 16."""
    file = io.BytesIO()
    sf.write(file, np.arange(11 * 16_000) / 16_000 / 16, 16_000, format="WAV", subtype="FLOAT")
    return Clip(clip_id=clip_id, audio=file.getvalue(), **facts)


@pytest.mark.parametrize(
    ("part", "start_s", "length_s"),
    [
        ((0.0, 3.0), 0.0, 3.0),
        ((10.0, None), 10.0, 1.0),
        ((8.0, 2.5), 8.0, 2.5),
        ((8.0, 5.0), 8.0, 3.0),
        ((0.0, 10.9), 0.0, 11.0),  # a rounded duration of the whole file
        (None, 0.0, 11.0),
    ],
)
def test_a_part_of_a_file_is_cut_out(
    part: tuple[float, float | None] | None, start_s: float, length_s: float
) -> None:
    (item,) = load_clips([ramp_clip("a", part=part)], wanted=None).loaded
    assert item.wave.size == round(length_s * 16_000)
    assert item.wave[0] * 16 == pytest.approx(start_s, abs=1e-3)


def test_a_part_behind_the_end_of_its_file_is_rejected() -> None:
    found = load_clips([ramp_clip("a"), ramp_clip("b", part=(12.0, 1.0))], wanted=None)
    assert [clip.reason for clip in found.rejected] == [
        "b has 11.00 s, the clip starts at 12.00 s; check its offset"
    ]


def missing(clip_id: str) -> Clip:
    return Clip(clip_id=clip_id, audio=Path("nowhere") / clip_id)


def test_clips_are_loaded_in_their_order_until_there_are_enough() -> None:
    clips = [clip("c"), clip("a"), clip("b")]
    loaded = load_clips(clips, wanted=2)
    assert [item.clip for item in loaded.loaded] == clips[:2]
    assert [item.wave.shape for item in loaded.loaded] == [(8_000,), (8_000,)]
    assert loaded.rejected == ()


def test_all_clips_are_loaded_where_no_number_is_wanted() -> None:
    assert len(load_clips([clip("a"), clip("b"), clip("c")], wanted=None).loaded) == 3


def test_a_set_with_fewer_clips_than_wanted_gives_what_it_has() -> None:
    assert len(load_clips([clip("a")], wanted=5).loaded) == 1


def test_rejected_clips_are_replaced_by_the_next_and_named_with_their_reason() -> None:
    clips = [
        missing("gone.wav"),
        Clip(clip_id="broken", audio=b"no audio"),
        clip("quiet", peak=0.0),
        clip("long", duration_s=31.7),
        clip("one"),
        clip("two"),
    ]
    loaded = load_clips(clips, wanted=2)
    assert [item.clip.clip_id for item in loaded.loaded] == ["one", "two"]
    reasons = {item.clip_id: item.reason for item in loaded.rejected}
    assert reasons["gone.wav"] == "gone.wav does not exist; check the path"
    assert reasons["broken"].startswith("broken is not audio that FFmpeg can read")
    assert reasons["quiet"] == "silent, left out"
    assert reasons["long"] == "31.70 s long; Whisper's window is 30 s, left out"
    assert [item.is_broken for item in loaded.rejected] == [True, True, False, False]


def test_a_clip_as_long_as_the_limit_is_kept() -> None:
    assert len(load_clips([clip("a", duration_s=30.0)], wanted=1).loaded) == 1


def test_another_limit_is_named_as_it_is() -> None:
    loaded = load_clips([clip("a", duration_s=3.0), clip("b", duration_s=1.0)], wanted=None, max_clip_s=2.0)
    assert loaded.rejected == (
        RejectedClip(clip_id="a", reason="3.00 s long; the limit is 2 s, left out", is_broken=False),
    )


def test_without_a_limit_any_length_is_kept() -> None:
    assert len(load_clips([clip("a", duration_s=40.0)], wanted=1, max_clip_s=None).loaded) == 1


def test_a_clip_that_is_far_too_long_by_its_set_is_not_even_opened() -> None:
    loaded = load_clips([replace(missing("a"), duration_s=60.0), clip("b")], wanted=None)
    assert [item.reason for item in loaded.rejected] == ["60.00 s long; Whisper's window is 30 s, left out"]


@pytest.mark.parametrize("declared_s", [0.1, 30.3])
def test_the_real_length_decides(declared_s: float) -> None:
    clips = [
        replace(clip("short"), duration_s=declared_s),
        replace(clip("long", duration_s=30.2), duration_s=1.0),
    ]
    loaded = load_clips(clips, wanted=None)
    assert [item.clip.clip_id for item in loaded.loaded] == ["short"]
    assert [item.reason for item in loaded.rejected] == ["30.20 s long; Whisper's window is 30 s, left out"]


def test_every_tried_clip_is_reported() -> None:
    calls: list[None] = []
    load_clips([missing("x"), clip("a"), clip("b"), clip("c")], wanted=2, on_clip=lambda: calls.append(None))
    assert len(calls) == 3


def test_half_of_the_clips_may_be_broken() -> None:
    assert len(load_clips([missing("x"), clip("a")], wanted=None).loaded) == 1


def test_more_broken_clips_are_an_error_that_names_the_first() -> None:
    clips = [clip("fine"), *(missing(f"{name}.wav") for name in "abcd")]
    with pytest.raises(InputError) as caught:
        load_clips(clips, wanted=None)
    assert str(caught.value) == (
        "4 of 5 clips cannot be read; the first, a.wav in nowhere: a.wav does not exist; check the path"
    )


def test_broken_bytes_have_no_folder_to_look_in() -> None:
    with pytest.raises(InputError, match=r"^1 of 1 clips cannot be read; the first, a: a is not audio"):
        load_clips([Clip(clip_id="a", audio=b"")], wanted=None)


def test_silent_and_long_clips_do_not_count_as_broken() -> None:
    clips = [clip("quiet", peak=0.0), clip("long", duration_s=31.0), clip("a")]
    assert len(load_clips(clips, wanted=None).loaded) == 1


def test_nothing_left_is_an_error() -> None:
    with pytest.raises(InputError, match=r"^none of 2 clips can be used; the first, q: silent, left out"):
        load_clips([clip("q", peak=0.0), clip("r", peak=0.0)], wanted=1)


def test_no_clips_at_all_are_an_error() -> None:
    with pytest.raises(InputError, match=r"^no clips to load; choose other speech"):
        load_clips([], wanted=1)
