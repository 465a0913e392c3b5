"""A variant measured in a process of its own."""

from pathlib import Path

import pytest

from sottovoce.errors import StageError
from sottovoce.runtime.planning.trial import run_trial
from sottovoce.terms import MemoryUse
from tests.support.tones import tone, write_wav


def test_a_trial_gives_the_work_of_the_clips_and_what_it_took(tiny_run: Path, tmp_path: Path) -> None:
    write_wav(tmp_path / "tone.wav", tone(2.0))
    trial = run_trial(tiny_run / "fp32-stateful", [tmp_path / "tone.wav"], 1, MemoryUse.LOW)
    (clip,) = trial.clips
    assert clip.audio_s == pytest.approx(2.0)
    assert clip.n_tokens >= 0
    assert trial.rtfx > 0
    assert trial.first_transcript_s > 2.0 / trial.rtfx
    assert 50e6 < trial.peak_bytes < 1e9


def test_a_process_that_fails_is_reported(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"cannot be measured: .* holds no variant"):
        run_trial(tmp_path, [tmp_path / "none.wav"], 1, MemoryUse.NORMAL)
