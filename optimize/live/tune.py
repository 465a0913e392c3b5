"""Choose when a variant's words are final in live transcription, by calibration speech, and write it into its manifest."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sottovoce.calibrate.store import CalibrationStore
from sottovoce.errors import SpecError
from sottovoce.machine.resources import usable_cores
from sottovoce.optimize.checks.held_out import choose_comparison_clips
from sottovoce.optimize.live.candidates import (
    RULES,
    LiveWord,
    Outcome,
    add_outcomes,
    choose_rule,
    compare_with_file,
)
from sottovoce.optimize.live.report import LiveTuning, RuleFigures
from sottovoce.optimize.pipeline import locked_run, refresh_run_manifest
from sottovoce.progress import Advance, Reporter
from sottovoce.runs import LiveRule, Run, Variant
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import Wave
from sottovoce.runtime.live.events import Committed
from sottovoce.runtime.live.options import CommitRule, LiveOptions
from sottovoce.runtime.live.session import open_session
from sottovoce.runtime.loading import load_model
from sottovoce.runtime.model.requirements import check_machine
from sottovoce.runtime.session import Model
from sottovoce.runtime.transcriber import OpenVinoTranscriber
from sottovoce.runtime.transcript import Word
from sottovoce.speech.clips import ClipSet
from sottovoce.speech.loading import LoadedClip
from sottovoce.storage.artifacts import write_manifest
from sottovoce.terms import Format

N_CLIPS = 24

FRAME_SAMPLES = SAMPLE_RATE_HZ // 10

TAIL_S = 1.0
"""Silence behind each clip: a stream goes on when speech ends."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Spoken:
    wave: Wave
    language: str | None
    words: tuple[Word, ...]


def tune_live(
    run: Run,
    speech: ClipSet,
    reporter: Reporter,
    *,
    variant: str | None = None,
    n_clips: int = N_CLIPS,
    threads: int | None = None,
) -> LiveTuning:
    """Feed calibration clips to a live session under each rule, and write the best rule into the variant's manifest.

    Words count as right where the same variant has them too when it transcribes the clip as a file, so that no
    transcripts are needed.

    Args:
        variant: None for the quantized variant of the run's recipe.
        threads: of inference; None takes all cores.

    Raises:
        InputError: the run has no such variant or no calibration record, or the speech cannot be used.
        ResourceError: this machine cannot run the variant.
        SpecError: the variant is not in OpenVINO: others do not align words.
        StageError: the variant recognizes no words in the speech.
    """
    chosen = _alignable(run.variant(variant or run.recipe.quantize.name))
    check_machine(chosen.folder)
    clips = choose_comparison_clips(run, speech, CalibrationStore(run.calibration_folder), n_clips, reporter)
    compute = replace(chosen.facts.compute, threads=threads or usable_cores())
    model = load_model(chosen.folder, compute=compute)
    spoken = _transcribe(model, clips.loaded, reporter)
    with reporter.progress("rules of live words", len(RULES) * len(spoken)) as advance:
        outcomes = [_measure(model, rule, spoken, advance) for rule in RULES]
    best = choose_rule(outcomes)
    _write(run, chosen, best.rule, reporter)
    return LiveTuning(
        variant=chosen.name,
        n_clips=len(spoken),
        audio_s=sum(len(each.wave) for each in spoken) / SAMPLE_RATE_HZ,
        rules=tuple(_figures(outcome, is_chosen=outcome is best) for outcome in outcomes),
    )


def _alignable(variant: Variant) -> Variant:
    if variant.facts.format is not Format.OPENVINO:
        raise SpecError(
            f"{variant.name} is a variant for {variant.facts.format}, which does not align words; name one in OpenVINO"
        )
    return variant


def _transcribe(model: Model, clips: Sequence[LoadedClip], reporter: Reporter) -> tuple[_Spoken, ...]:
    transcriber = OpenVinoTranscriber(model)
    found = []
    with reporter.progress("transcribe as files", len(clips)) as advance:
        for clip in clips:
            language = clip.clip.language if clip.clip.language in transcriber.languages else None
            transcript = transcriber.transcribe(
                clip.wave, language=language, without_timestamps=True, word_timestamps=True, temperature=0.0
            )
            words = tuple(word for segment in transcript.segments for word in segment.words)
            found.append(_Spoken(wave=clip.wave, language=language or transcript.language, words=words))
            advance()
    return tuple(found)


def _measure(model: Model, rule: CommitRule, spoken: Sequence[_Spoken], advance: Advance) -> Outcome:
    parts = []
    for each in spoken:
        options = LiveOptions(language=each.language, policy=rule.policy, guard_s=rule.guard_s)
        live = list(_live_words(model, options, each.wave))
        parts.append(compare_with_file(rule, live, each.words, each.language))
        advance()
    return add_outcomes(parts)


def _live_words(model: Model, options: LiveOptions, wave: Wave) -> Iterator[LiveWord]:
    """Feed a clip in frames of 0.1 s; computation takes no time."""
    session = open_session(model, options, clock=_stopped)
    whole = np.concatenate([wave, np.zeros(round(TAIL_S * SAMPLE_RATE_HZ), np.float32)])
    for start in range(0, len(whole), FRAME_SAMPLES):
        yield from _committed(session.feed(whole[start : start + FRAME_SAMPLES]))
    yield from _committed(session.finish())


def _committed(events: Sequence[object]) -> Iterator[LiveWord]:
    for event in events:
        if isinstance(event, Committed):
            yield from (LiveWord(text=word.text, committed_s=event.audio_s) for word in event.words)


def _stopped() -> float:
    return 0.0


def _figures(outcome: Outcome, *, is_chosen: bool) -> RuleFigures:
    delays = outcome.delays_s
    return RuleFigures(
        policy=outcome.rule.policy,
        guard_s=outcome.rule.guard_s,
        error_rate=outcome.error_rate,
        mean_delay_s=outcome.mean_delay_s if delays else None,
        p95_delay_s=float(np.percentile(delays, 95)) if delays else None,
        is_chosen=is_chosen,
    )


def _write(run: Run, variant: Variant, rule: CommitRule, reporter: Reporter) -> None:
    """Write the rule into the manifest of the variant, and the variant's new hash into that of the run."""
    facts = variant.facts.model_copy(update={"live": LiveRule(policy=rule.policy, guard_s=rule.guard_s)})
    manifest = variant.manifest.model_copy(update={"facts": facts.model_dump(mode="json")})
    with locked_run(run, reporter) as now:
        write_manifest(now.variant(variant.name).folder, manifest)
        refresh_run_manifest(now, now.recipe)
