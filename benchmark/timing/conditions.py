"""Transcripts of the clips under listening conditions, after the timed passes."""

import logging
from collections.abc import Mapping
from functools import partial
from hashlib import sha256

from sottovoce.benchmark.engines.engine import DEFAULT_ENGINE
from sottovoce.benchmark.spec import BenchmarkSpec
from sottovoce.benchmark.timing.pass_runner import PassRunner
from sottovoce.benchmark.timing.worker import ClipError, Worker
from sottovoce.progress import Reporter
from sottovoce.runtime.audio.decode import Wave
from sottovoce.speech.conditions import apply_condition, speech_shaped_noise, speech_spectrum
from sottovoce.speech.loading import LoadedClip
from sottovoce.terms import Condition

logger = logging.getLogger(__name__)

ConditionTexts = Mapping[tuple[Condition, str], str]
"""Transcripts by condition and id of the clip, without clean speech and without clips that failed."""


def transcribe_conditions(
    runner: PassRunner, spec: BenchmarkSpec, reporter: Reporter
) -> dict[str, ConditionTexts]:
    """Transcribe every clip under every condition with our entries; clean speech is in the passes already.

    The noise has the spectrum of all clips, and is the same for a clip at every SNR.

    Returns:
        By entry.

    Raises:
        StageError: an entry dies.
    """
    conditions = [each for each in spec.conditions if each is not Condition.CLEAN]
    names = [
        name
        for name, worker in runner.workers.items()
        if worker.spec.engine == DEFAULT_ENGINE and not worker.spec.is_aa_check
    ]
    if not conditions:
        return {}
    spectrum = speech_spectrum(clip.wave for clip in runner.clips)
    found: dict[str, dict[tuple[Condition, str], str]] = {name: {} for name in names}
    with reporter.progress("robustness", len(conditions) * len(runner.clips)) as advance:
        for clip in runner.clips:
            clip_id = clip.clip.clip_id
            noise = speech_shaped_noise(spectrum, clip.wave.size, seed=_noise_seed(spec.seed, clip_id))
            for condition in conditions:
                wave = apply_condition(condition, clip.wave, noise)
                texts = runner.ask(partial(_transcribe, wave=wave, clip=clip, condition=condition), names)
                for name, text in texts.items():
                    if text is not None:
                        found[name][condition, clip_id] = text
                advance()
    return {**found}


def _noise_seed(seed: int, clip_id: str) -> int:
    """Return a seed that depends on neither the order nor the number of the clips."""
    return int.from_bytes(sha256(f"{seed}:{clip_id}".encode()).digest()[:8])


def _transcribe(worker: Worker, *, wave: Wave, clip: LoadedClip, condition: Condition) -> str | None:
    try:
        return worker.transcribe(wave, clip.clip.language).text
    except ClipError as cause:
        logger.warning("%s failed on %s under %s: %s", worker.spec.name, clip.clip.clip_id, condition, cause)
        return None
