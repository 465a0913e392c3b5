"""What a student learns: the transcripts of its teacher, and the teacher's probabilities of all tokens.

Source: distil-whisper (Gandhi et al. 2023, arXiv:2311.00430, section 3): 0.8 of the cross-entropy and the KL divergence at temperature 2,
on transcripts of the teacher that differ from the reference by at most 10 % of the words.
"""

from collections.abc import Sequence
from dataclasses import replace

from sottovoce.speech.loading import LoadedClip
from sottovoce.train.accuracy import text_errors
from sottovoce.train.decoder.model import Tensor

CROSS_ENTROPY_SHARE = 0.8
TEMPERATURE = 2.0


def taught_clips(
    clips: Sequence[LoadedClip], transcripts: Sequence[str], *, max_wer: float, language: str
) -> tuple[LoadedClip, ...]:
    """Return the clips whose transcript by the teacher is learnt, with that transcript.

    Args:
        clips: with or without a reference.
        transcripts: of the teacher; empty where it loops.
        max_wer: most word errors against the reference, as a share of its words; a clip without one is taken as it is.
        language: of clips that name none.
    """
    pairs = ((clip, text) for clip, text in zip(clips, transcripts, strict=True) if text.strip())
    return tuple(
        replace(clip, clip=replace(clip.clip, text=text))
        for clip, text in pairs
        if _agrees(clip, text, max_wer, language)
    )


def _agrees(clip: LoadedClip, text: str, max_wer: float, language: str) -> bool:
    if not clip.clip.text:
        return True
    errors = text_errors(clip.clip.text, text, clip.clip.language or language)
    return errors.errors <= max_wer * errors.reference_words


def lesson_loss(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """Return the loss of a student on one transcript: a sum over its tokens, in nats.

    Args:
        student: logits, float32, shape (n_labels, n_tokens of the vocabulary).
        teacher: the same of the teacher.
        labels: tokens, shape (n_labels,).
    """
    from torch.nn.functional import cross_entropy, kl_div, log_softmax

    divergence = kl_div(
        log_softmax(student / TEMPERATURE, -1),
        log_softmax(teacher / TEMPERATURE, -1),
        log_target=True,
        reduction="sum",
    )
    return CROSS_ENTROPY_SHARE * cross_entropy(student, labels, reduction="sum") + TEMPERATURE**2 * divergence
