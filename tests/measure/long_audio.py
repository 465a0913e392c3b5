"""Word error rates of long recordings by the ways to decode them, with paired intervals against the default.

    python tests/measure/long_audio.py MANIFEST VARIANT --split eval

Recordings over 30 s stand as they are; shorter clips of one source and language are joined, with pauses, in an order by
chance, to recordings of some 90 s.
"""

import argparse
import random
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import jiwer
import numpy as np

from sottovoce.runtime import TranscribeOptions
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ, WINDOW_SAMPLES
from sottovoce.runtime.audio.decode import Wave
from sottovoce.runtime.decoding.context import DecodingContext
from sottovoce.runtime.loading import load_model
from sottovoce.runtime.pipeline import InferencePipeline
from sottovoce.runtime.transcriber import OpenVinoTranscriber
from sottovoce.speech.clips import filter_clips
from sottovoce.speech.loading import LoadedClip, load_clips
from sottovoce.speech.sets import read_speech
from sottovoce.statistics.accuracy import normalize
from sottovoce.statistics.intervals import rate_delta_interval


class ModelTimesPipeline(InferencePipeline):
    """Takes times from the model's timestamp tokens in batches too."""

    def _with_aligned_times(self, context: DecodingContext) -> DecodingContext:
        return context


WAYS = {
    "alignment (default)": (InferencePipeline, TranscribeOptions()),
    "model's timestamps": (ModelTimesPipeline, TranscribeOptions()),
    "without times": (InferencePipeline, TranscribeOptions(without_timestamps=True)),
    "window after window": (InferencePipeline, TranscribeOptions(condition_on_previous_text=True)),
}

JOINED_SAMPLES = 90 * SAMPLE_RATE_HZ
PAUSE = np.zeros(round(0.8 * SAMPLE_RATE_HZ), np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """Long audio with its text, normalized."""

    wave: Wave
    text: str
    language: str


def join(clips: Iterable[LoadedClip]) -> Iterator[Recording]:
    """Make recordings of clips; what is left over and no longer than a window is left out."""
    groups: dict[tuple[str, str], list[LoadedClip]] = defaultdict(list)
    for clip in clips:
        language = clip.clip.language or "en"
        if len(clip.wave) > WINDOW_SAMPLES:
            yield _recording([clip], language)
        else:
            groups[clip.clip.source or "", language].append(clip)
    for (_, language), alike in sorted(groups.items()):
        random.Random(0).shuffle(alike)  # noqa: S311 - no secret
        part: list[LoadedClip] = []
        for clip in alike:
            part.append(clip)
            if sum(len(each.wave) for each in part) > JOINED_SAMPLES:
                yield _recording(part, language)
                part = []
        if sum(len(each.wave) for each in part) > WINDOW_SAMPLES:
            yield _recording(part, language)


def _recording(clips: list[LoadedClip], language: str) -> Recording:
    text = normalize(" ".join(clip.clip.text or "" for clip in clips), language)
    wave = np.concatenate([part for clip in clips for part in (clip.wave, PAUSE)])
    return Recording(wave=wave, text=text, language=language)


def main() -> None:
    """Print a line for each way."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("manifest")
    parser.add_argument("variant", type=Path)
    parser.add_argument("--split", default="eval")
    parser.add_argument("--where", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--limit", type=int, default=200, help="clips")
    arguments = parser.parse_args()
    clips = filter_clips(
        read_speech(arguments.manifest), [f"split={arguments.split}", *arguments.where]
    ).clips
    recordings = list(
        join(load_clips(clips, wanted=min(arguments.limit, len(clips)), max_clip_s=None).loaded)
    )
    words = np.array([len(each.text.split()) for each in recordings], dtype=float)
    minutes = sum(len(each.wave) for each in recordings) / SAMPLE_RATE_HZ / 60
    print(f"{len(recordings)} recordings, {minutes:.1f} min, {words.sum():.0f} words")
    default, model = None, load_model(arguments.variant)
    for name, (kind, options) in WAYS.items():
        transcriber = OpenVinoTranscriber(model, kind(model.session()))
        started, errors, n_left_out = time.process_time(), [], 0
        for each in recordings:
            said = normalize(transcriber.transcribe(each.wave, options).text, each.language)
            compared = jiwer.process_words(each.text, said)
            errors.append(compared.substitutions + compared.deletions + compared.insertions)
            n_left_out += compared.deletions
        cpu_s = time.process_time() - started
        found = np.array(errors, dtype=float)
        default = found if default is None else default
        delta = rate_delta_interval(default, found, words, rng=np.random.default_rng(0))
        print(
            f"{name:20} WER {100 * found.sum() / words.sum():.2f} %, {n_left_out} words left out, "
            f"{100 * delta.value:+.2f} ({100 * delta.low:+.2f} to {100 * delta.high:+.2f}) points, {cpu_s:.1f} s of CPU",
            flush=True,
        )


if __name__ == "__main__":
    main()
