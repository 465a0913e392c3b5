"""What training compares with: the baseline's encoder states, tokens and probabilities for each clip, on disk."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sottovoce.errors import InputError
from sottovoce.optimize.checks.teacher_forcing import Candidate, TeacherSequence
from sottovoce.progress import Reporter
from sottovoce.runtime.audio.features import Features
from sottovoce.runtime.model.encoder import Encoder
from sottovoce.speech.loading import LoadedClip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lesson:
    """One clip for training.

    Attributes:
        features: as the variant's encoder receives them, float32, shape (1, n_mels, n_frames).
        states: the baseline's for the same positions, from 30 s; float16, shape (1, n_frames / 2, d_model).
        teacher: the baseline's tokens and probabilities.
    """

    features: Features
    states: NDArray[np.float16]
    teacher: TeacherSequence


class LessonBook:
    """The lessons of a training, a file for each clip; written once, so that an interrupted command resumes."""

    def __init__(self, folder: Path) -> None:
        """Open a folder of lessons, or make it."""
        folder.mkdir(exist_ok=True)
        self._folder = folder

    def write_missing(
        self, clips: Sequence[LoadedClip], teacher: Candidate, student: Encoder, reporter: Reporter
    ) -> None:
        """Let the baseline transcribe the clips that have no lesson yet.

        Args:
            clips: some or all of a training.
            teacher: the float32 baseline, which encodes 30 s.
            student: the variant's encoder, for the features.
        """
        missing = [clip for clip in clips if not self._path(clip).is_file()]
        with reporter.progress("transcribe with the baseline", len(missing)) as advance:
            for clip in missing:
                self._write(clip, make_lesson(clip, teacher, student))
                advance()

    def read(self, clip: LoadedClip) -> Lesson:
        """Read the lesson of a clip.

        Raises:
            InputError: its file is damaged.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        path = self._path(clip)
        try:
            return _lesson_of(load_file(path), clip)
        except (SafetensorError, KeyError) as cause:
            raise InputError(f"{path} is damaged ({cause}); repeat the command with --restart") from cause

    def _path(self, clip: LoadedClip) -> Path:
        return self._folder / f"{clip.audio_sha256[:32]}.safetensors"

    def _write(self, clip: LoadedClip, lesson: Lesson) -> None:
        from safetensors.numpy import save

        path = self._path(clip)
        written = path.with_suffix(".new")
        written.write_bytes(save(_arrays_of(lesson)))
        written.replace(path)


def make_lesson(clip: LoadedClip, teacher: Candidate, student: Encoder) -> Lesson:
    """Transcribe a clip with the baseline, and keep what the variant should compute."""
    encoded = teacher.encode_window(clip.wave)
    sequence = teacher.generate_from(encoded, clip)
    plan = student.plan(len(clip.wave))
    return Lesson(
        features=student.features(clip.wave, plan),
        states=encoded.states[:, : plan.n_positions].astype(np.float16),
        teacher=sequence,
    )


def _arrays_of(lesson: Lesson) -> dict[str, NDArray[Any]]:
    teacher = lesson.teacher
    return {
        "features": np.ascontiguousarray(lesson.features),
        "states": np.ascontiguousarray(lesson.states),
        "prompt": np.array(teacher.prompt, dtype=np.int64),
        "tokens": np.array(teacher.tokens, dtype=np.int64),
        "likeliest": teacher.likeliest,
        "log_probabilities": teacher.log_probabilities,
        "start_likeliest": teacher.start_likeliest,
        "start_log_probabilities": teacher.start_log_probabilities,
    }


def _lesson_of(arrays: dict[str, NDArray[Any]], clip: LoadedClip) -> Lesson:
    return Lesson(
        features=arrays["features"],
        states=arrays["states"],
        teacher=TeacherSequence(
            clip_id=clip.clip.clip_id,
            wave=clip.wave,
            prompt=tuple(arrays["prompt"].tolist()),
            tokens=tuple(arrays["tokens"].tolist()),
            likeliest=arrays["likeliest"],
            log_probabilities=arrays["log_probabilities"],
            start_likeliest=arrays["start_likeliest"],
            start_log_probabilities=arrays["start_log_probabilities"],
        ),
    )
