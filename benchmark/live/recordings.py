"""What is fed to live transcription: recordings with their references, and sounds without speech."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sottovoce.benchmark.engines.engine import is_long
from sottovoce.errors import InputError
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import Wave, decode_audio
from sottovoce.speech.loading import LoadedClip

PAUSE_S = 0.8
"""Silence between clips that are joined: longer than the silence that ends an utterance."""

JOINED_S = 60.0
"""A recording of joined clips ends with the clip that makes it so long."""

TAIL_S = 1.0
"""Silence behind each recording: a stream goes on when speech ends."""

WITHOUT_SPEECH_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recording:
    """A stream to transcribe.

    Attributes:
        name: of the clip, or of the first that is joined.
        wave: float32, shape (n_samples,), 16 kHz; ends in silence.
        language: of the text; None where it is unknown.
        reference: the text that is spoken.
        clip_ends_s: where the audio of each clip in it ends.
    """

    name: str
    wave: Wave
    language: str | None
    reference: str
    clip_ends_s: tuple[float, ...]

    @property
    def audio_s(self) -> float:
        """Length in seconds."""
        return len(self.wave) / SAMPLE_RATE_HZ


def make_recordings(
    clips: Sequence[LoadedClip], default_language: str | None = None
) -> tuple[Recording, ...]:
    """Take recordings over 30 s as they are, and join shorter clips of one language with pauses.

    Args:
        clips: in any order.
        default_language: of clips without a language.
    """
    long = [[clip] for clip in clips if is_long(clip.wave)]
    short = [clip for clip in clips if not is_long(clip.wave)]
    languages = dict.fromkeys(clip.clip.language for clip in short)
    joined = [
        part
        for language in languages
        for part in _parts([clip for clip in short if clip.clip.language == language])
    ]
    return tuple(_join(part, default_language) for part in (*long, *joined))


def _parts(clips: Sequence[LoadedClip]) -> Iterator[list[LoadedClip]]:
    part: list[LoadedClip] = []
    for clip in clips:
        part.append(clip)
        if sum(len(each.wave) for each in part) >= JOINED_S * SAMPLE_RATE_HZ:
            yield part
            part = []
    if part:
        yield part


def _join(clips: Sequence[LoadedClip], default_language: str | None) -> Recording:
    pause = np.zeros(round(PAUSE_S * SAMPLE_RATE_HZ), np.float32)
    waves: list[Wave] = []
    ends_s = []
    for clip in clips:
        waves += [pause, clip.wave] if waves else [clip.wave]
        ends_s.append(sum(map(len, waves)) / SAMPLE_RATE_HZ)
    tail = np.zeros(round(TAIL_S * SAMPLE_RATE_HZ), np.float32)
    first = clips[0].clip
    return Recording(
        name=first.clip_id if len(clips) == 1 else f"{first.clip_id} and {len(clips) - 1} more",
        wave=np.concatenate([*waves, tail]),
        language=first.language or default_language,
        reference=" ".join((clip.clip.text or "").strip() for clip in clips),
        clip_ends_s=tuple(ends_s),
    )


def sounds_without_speech(folder: Path | None) -> tuple[tuple[str, Wave], ...]:
    """Return ten minutes of silence, and of each recording in a folder, repeated; with their names.

    Raises:
        InputError: the folder holds no files, or one that cannot be read.
    """
    n_samples = round(WITHOUT_SPEECH_S * SAMPLE_RATE_HZ)
    silence = ("silence", np.zeros(n_samples, np.float32))
    if folder is None:
        return (silence,)
    files = sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
    if not files:
        raise InputError(
            f"--live-noise {folder} holds no recordings; give a folder with recordings without speech"
        )
    return (silence, *((path.stem, np.resize(decode_audio(path), n_samples)) for path in files))
