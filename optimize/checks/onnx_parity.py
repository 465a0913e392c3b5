"""The check that an ONNX variant computes what its checkpoint computes in PyTorch."""

from collections.abc import Sequence
from pathlib import Path

from sottovoce.errors import ParityError
from sottovoce.optimize.checks.parity import MAX_ENCODER_DIFFERENCE, Reference, relative_difference
from sottovoce.runs import Parity
from sottovoce.runtime.decoding.greedy import Attempt, decode_greedily, prefill
from sottovoce.runtime.decoding.logit_filters import LogitFilters
from sottovoce.runtime.decoding.tokenizer import WhisperTokenizer
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.decoder import Decoder, Encoded, States, load_decoder
from sottovoce.runtime.model.encoder import load_encoder_graph
from sottovoce.runtime.transcript import Task


def check_onnx_parity(folder: Path, references: Sequence[Reference], compute: ComputeSpec) -> Parity:
    """Compare an ONNX variant with PyTorch on real features, through the runtime's own decoding.

    A reference that says nothing new for long is compared as far as the runtime goes along.

    Args:
        folder: of the variant.
        references: what PyTorch makes of the clips.
        compute: threads.

    Raises:
        ParityError: the encoder differs by more than rounding, or a greedy token differs.
    """
    encoder, decoder = load_encoder_graph(folder, compute), load_decoder(folder, compute)
    tokenizer = WhisperTokenizer.load(folder)
    worst = 0.0
    for reference in references:
        states = encoder.run(reference.features)
        worst = max(worst, _check_states(folder.name, states, reference))
        attempt = _decode(decoder, states, tokenizer, reference)
        _check_tokens(folder.name, attempt, reference, tokenizer)
    return Parity(n_clips=len(references), encoder_max_difference=worst, identical_tokens=True)


def _check_states(name: str, states: States, reference: Reference) -> float:
    difference = relative_difference(states, reference.encoder_states)
    if not difference <= MAX_ENCODER_DIFFERENCE:  # nan fails too
        raise ParityError(
            f"{name}: the encoder differs from PyTorch by {difference:.1e} of its largest output on "
            f"{reference.clip.clip_id}, want at most {MAX_ENCODER_DIFFERENCE:.0e}; the export is wrong"
        )
    return difference


def _decode(decoder: Decoder, states: States, tokenizer: WhisperTokenizer, reference: Reference) -> Attempt:
    special = tokenizer.special
    prompt = tokenizer.prompt(
        language=reference.clip.language or "en", task=Task.TRANSCRIBE, with_timestamps=False
    )
    decoder.start(Encoded(states))
    begin = prefill(decoder, prompt, start=special.start, no_speech=special.no_speech)
    rules = LogitFilters(special, with_timestamps=False)
    return decode_greedily(decoder, begin, rules, end=special.end, limit=max(1, len(reference.tokens)))


def _check_tokens(name: str, attempt: Attempt, reference: Reference, tokenizer: WhisperTokenizer) -> None:
    found = attempt.tokens
    expected = reference.tokens[: len(found)] if attempt.has_looped else reference.tokens
    if found == expected:
        return
    pairs = zip(found, expected, strict=False)
    place = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(found), len(expected)))
    raise ParityError(
        f"{name}: greedy token {place} of {reference.clip.clip_id} differs from PyTorch "
        f"({tokenizer.text(found)!r} against {tokenizer.text(expected)!r}); the export is wrong"
    )
