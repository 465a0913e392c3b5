"""How far variants of a run are from its baseline on evaluation clips, as they are and degraded.

    python tests/measure/divergence.py RUN int8-fast int8-fast-qat --data SPEECH --language en --limit 60 --degrade noise

For each variant: KL divergence (thousandths of a nat a token), tokens where another is likeliest, and the divergence after the
start-of-transcript token (language, no speech). From the second variant on, the paired difference to the first with its 95 %
interval, drawn by speaker where ten are known. Then word errors of greedy texts without timestamps, and their paired difference to
the baseline. Degraded clips are given to the baseline, too.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from sottovoce.optimize.checks.teacher_forcing import Candidate, compare, generate_teachers
from sottovoce.progress import Silent
from sottovoce.runs import read_run
from sottovoce.runtime.audio.decode import Wave
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.speech.clips import select_clips
from sottovoce.speech.loading import LoadedClip, load_clips
from sottovoce.speech.properties import speaker_of
from sottovoce.speech.sets import read_speech
from sottovoce.statistics.accuracy import WordErrors, add_errors
from sottovoce.statistics.intervals import Interval
from sottovoce.train.accuracy import text_errors, wer_difference
from sottovoce.train.variant.report import Differences, Figures
from tests.support.noises import noise

SNR_DB = 5.0
QUIET_DB = -30.0
CLIPPED_DB = 20.0


def quiet(wave: Wave) -> Wave:
    """Turn down by 30 dB."""
    return wave * np.float32(10 ** (QUIET_DB / 20))


def clipped(wave: Wave) -> Wave:
    """Turn up by 20 dB, and clip."""
    louder: Wave = np.clip(wave * np.float32(10 ** (CLIPPED_DB / 20)), -1, 1)
    return louder


def noisy(wave: Wave) -> Wave:
    """Add pink noise, 5 dB below the speech."""
    added = noise("pink", len(wave) / 16_000)[: len(wave)]
    level = np.sqrt(np.square(wave).mean() / np.square(added).mean()) * 10 ** (-SNR_DB / 20)
    return np.clip(wave[: len(added)] + np.float32(level) * added, -1, 1)


DEGRADED: Mapping[str, Callable[[Wave], Wave]] = {
    "none": lambda wave: wave,
    "quiet": quiet,
    "clipped": clipped,
    "noise": noisy,
}


def main() -> None:
    """Compare the variants, and print a line for each."""
    arguments = parse()
    run = read_run(arguments.run)
    clips = chosen_clips(arguments)
    baseline = Candidate.load(run.baseline.folder, ComputeSpec(threads=arguments.threads))
    teachers = generate_teachers(baseline, clips, Silent())
    speakers = [speaker_of(clip.clip) for clip in clips]
    print(
        f"{len(clips)} clips, {arguments.degrade}: variant, mnat a token, other likeliest %, mnat at the start"
    )
    errors = count_errors(clips, [baseline.text_of(teacher.tokens) for teacher in teachers])
    print(f"{run.baseline.name}: WER {100 * add_errors(errors).wer:.2f} %")
    first = None
    for name in arguments.variants:
        variant = run.variant(name)
        candidate = Candidate.load(variant.folder, replace(variant.facts.compute, threads=arguments.threads))
        found = compare(candidate, teachers)
        figures = Figures.of(found)
        line = f"{name}: {1e3 * figures.divergence:.2f}, {100 * figures.top1_disagreement:.2f}, {1e3 * figures.start_divergence:.2f}"
        if first is None:
            first = found
        else:
            deltas = Differences(before=first, after=found, speakers=speakers)
            line += f"; difference {shown(deltas.divergence)}, at the start {shown(deltas.start)}"
        now = count_errors(clips, list(map(candidate.transcribe, teachers)))
        delta = wer_difference(errors, now, speakers)
        line += f"; WER {100 * add_errors(now).wer:.2f} %, {points(delta)} points"
        print(line, flush=True)


def count_errors(clips: Sequence[LoadedClip], texts: Sequence[str]) -> list[WordErrors]:
    """Count the word errors of each clip."""
    return [
        text_errors(clip.clip.text or "", text, clip.clip.language or "en")
        for clip, text in zip(clips, texts, strict=True)
    ]


def chosen_clips(arguments: argparse.Namespace) -> tuple[LoadedClip, ...]:
    """Load evaluation clips of a language, degraded."""
    speech = read_speech(arguments.data)
    clips = tuple(
        clip
        for clip in speech.clips
        if clip.split in (None, "eval")
        and clip.text
        and arguments.language in (None, clip.language)
        and arguments.source in (None, clip.source)
    )
    drawn = select_clips(clips, arguments.limit, seed=0)
    loaded = load_clips(drawn, wanted=None).loaded
    return tuple(replace(clip, wave=DEGRADED[arguments.degrade](clip.wave)) for clip in loaded)


def shown(delta: Interval) -> str:
    """Return a difference in thousandths of a nat."""
    return f"{1e3 * delta.value:+.2f} ({1e3 * delta.low:+.2f} to {1e3 * delta.high:+.2f})"


def points(delta: Interval) -> str:
    """Return a difference in points."""
    return f"{100 * delta.value:+.2f} ({100 * delta.low:+.2f} to {100 * delta.high:+.2f})"


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("variants", nargs="+")
    parser.add_argument("--data", required=True)
    parser.add_argument("--language")
    parser.add_argument("--source")
    parser.add_argument("--limit", type=int, default=60)
    parser.add_argument("--degrade", choices=DEGRADED, default="none")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
