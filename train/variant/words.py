"""Word errors of a variant before and after training, on the held-out clips that have transcripts."""

from collections.abc import Sequence
from dataclasses import replace

from sottovoce.speech.loading import LoadedClip
from sottovoce.speech.properties import speaker_of
from sottovoce.statistics.accuracy import WordErrors, add_errors
from sottovoce.train.accuracy import text_errors, wer_difference
from sottovoce.train.loop import Tensors
from sottovoce.train.variant.bench import HeldOutBench
from sottovoce.train.variant.report import HeldOutWords
from sottovoce.train.variant.trainable import Trainable


def measure_words(
    bench: HeldOutBench, clips: Sequence[LoadedClip], trainable: Trainable, deltas: Tensors
) -> HeldOutWords | None:
    """Transcribe the held-out clips that have transcripts with the baseline, the variant and the trained variant.

    Args:
        clips: those of the bench, in its order.

    Returns:
        None where no clip has words.
    """
    chosen = [i for i, clip in enumerate(clips) if _errors(clip, "").reference_words]
    if not chosen:
        return None
    spoken = [clips[i] for i in chosen]
    found = replace(bench, lessons=[bench.lessons[i] for i in chosen]).transcribe(trainable, deltas)
    baseline, before, after = (
        [_errors(clip, text) for clip, text in zip(spoken, texts, strict=True)]
        for texts in (found.baseline, found.before, found.after)
    )
    return HeldOutWords(
        n_clips=len(spoken),
        baseline=add_errors(baseline),
        before=add_errors(before),
        after=add_errors(after),
        delta=wer_difference(before, after, [speaker_of(clip.clip) for clip in spoken]),
    )


def _errors(clip: LoadedClip, text: str) -> WordErrors:
    return text_errors(clip.clip.text or "", text, clip.clip.language or "en")
