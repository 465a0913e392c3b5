"""What a user asks a transcription for."""

import math
from dataclasses import dataclass

from sottovoce.errors import SpecError
from sottovoce.runtime.transcript import Task

MAX_BEAMS = 16
MAX_BATCH = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscribeOptions:
    """How audio is transcribed; the defaults are those of openai-whisper where it has them.

    Attributes:
        language: code; None detects it. An English-only model knows `en` only.
        task: transcribe, or translate to English.
        with_timestamps: segments have times. Those of long audio in batches come of the alignment, with a variant
            that has one and where nothing is translated, which also shows what the text leaves out; else the
            model tells them.
        word_timestamps: place each word; costs one more pass of the decoder a window, where segments do not
            take it already.
        beam_size: 1 is greedy.
        temperatures: tried in order until one gives a likely text that does not repeat itself.
        compression_ratio_limit: above, a text repeats itself.
        log_probability_limit: below, a text is unlikely; mean of natural logarithms.
        no_speech_limit: above, and where the text is unlikely too, a window is silent.
        initial_prompt: text that is taken to stand before the first window, before each where none is told the
            text before it: names, spelling, style.
        hotwords: words to look out for, before every window.
        condition_on_previous_text: sequential mode: windows follow one another by the model's own
            timestamps, each told the text before it. Otherwise windows are cut at pauses and
            decoded in batches.
        vad_filter: look for speech before decoding; None does where audio is longer than
            a window, or where a short text is doubtful. Without it long audio is cut every 30 s.
        batch_size: windows decoded together.
        max_duration_s: longer audio is refused. None: 24 hours, and no more than speech could take so few
            bytes for.
    """

    language: str | None = None
    task: Task = Task.TRANSCRIBE
    with_timestamps: bool = True
    word_timestamps: bool = False
    beam_size: int = 1
    temperatures: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    compression_ratio_limit: float = 2.4
    log_probability_limit: float = -1.0
    no_speech_limit: float = 0.6
    initial_prompt: str | None = None
    hotwords: str | None = None
    condition_on_previous_text: bool = False
    vad_filter: bool | None = None
    batch_size: int = 12
    max_duration_s: float | None = None

    def __post_init__(self) -> None:
        if not self.temperatures or not all(0 <= t <= 1 for t in self.temperatures):
            raise SpecError(f"temperatures are {self.temperatures}, want one or more from 0 to 1")
        if not 1 <= self.beam_size <= MAX_BEAMS:
            raise SpecError(f"beam_size is {self.beam_size}, want 1 to {MAX_BEAMS}")
        if not 1 <= self.batch_size <= MAX_BATCH:
            raise SpecError(f"batch_size is {self.batch_size}, want 1 to {MAX_BATCH}")
        if self.max_duration_s is not None and not self.max_duration_s > 0:
            raise SpecError(f"max_duration_s is {self.max_duration_s}, want more than 0")
        if not (math.isfinite(self.compression_ratio_limit) and self.compression_ratio_limit > 0):
            raise SpecError(f"compression_ratio_limit is {self.compression_ratio_limit}, want more than 0")
