"""The settings that all variants of a checkpoint share, and the check that exporting kept them.

Exporters and quantizers have lost generation settings before: a lost suppressed token or language changes transcripts
without any error.
"""

from dataclasses import dataclass, fields
from pathlib import Path

from sottovoce.errors import ParityError
from sottovoce.reference_pipeline import quiet_libraries

SAMPLE_PROMPT_LANGUAGES = ("en", "fr", "zh")
"""Languages whose start tokens are compared; the table of all languages is compared too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The settings of a checkpoint that every variant of it must keep."""

    n_mels: int
    vocab_size: int
    encoder_layers: int
    decoder_layers: int
    max_target_positions: int
    is_multilingual: bool
    languages: tuple[tuple[str, int], ...]
    tasks: tuple[tuple[str, int], ...]
    suppress_tokens: tuple[int, ...]
    begin_suppress_tokens: tuple[int, ...]
    no_timestamps_token: int | None
    previous_token: int | None
    max_initial_timestamp_index: int | None
    return_timestamps: bool
    alignment_heads: tuple[tuple[int, int], ...]
    start_token: int
    end_token: int
    pad_token: int
    feature_size: int
    window_samples: int
    hop_samples: int
    sampling_rate_hz: int
    start_tokens: tuple[tuple[str, tuple[int, ...]], ...]
    timestamp_tokens: tuple[int, ...]


def read_identity(folder: Path) -> Identity:
    """Read the identity of a checkpoint or a variant with transformers."""
    from transformers import AutoConfig, AutoFeatureExtractor, GenerationConfig, WhisperTokenizerFast

    with quiet_libraries():
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        generation = GenerationConfig.from_pretrained(folder, local_files_only=True)
        extractor = AutoFeatureExtractor.from_pretrained(folder, local_files_only=True)
        tokenizer = WhisperTokenizerFast.from_pretrained(folder, local_files_only=True)
    multilingual = bool(getattr(generation, "is_multilingual", True))
    languages = getattr(generation, "lang_to_id", None) or {}
    return Identity(
        n_mels=config.num_mel_bins,
        vocab_size=config.vocab_size,
        encoder_layers=config.encoder_layers,
        decoder_layers=config.decoder_layers,
        max_target_positions=config.max_target_positions,
        is_multilingual=multilingual,
        languages=tuple(sorted(languages.items())),
        tasks=tuple(sorted((getattr(generation, "task_to_id", None) or {}).items())),
        suppress_tokens=tuple(generation.suppress_tokens or ()),
        begin_suppress_tokens=tuple(generation.begin_suppress_tokens or ()),
        no_timestamps_token=getattr(generation, "no_timestamps_token_id", None),
        previous_token=getattr(generation, "prev_sot_token_id", None),
        max_initial_timestamp_index=getattr(generation, "max_initial_timestamp_index", None),
        return_timestamps=bool(getattr(generation, "return_timestamps", False)),
        alignment_heads=tuple(
            (layer, head) for layer, head in getattr(generation, "alignment_heads", None) or ()
        ),
        start_token=generation.decoder_start_token_id,
        end_token=_one_token(generation.eos_token_id),
        pad_token=generation.pad_token_id,
        feature_size=extractor.feature_size,
        window_samples=extractor.n_samples,
        hop_samples=extractor.hop_length,
        sampling_rate_hz=extractor.sampling_rate,
        start_tokens=_start_tokens(
            tokenizer, {token.strip("<|>") for token in languages}, multilingual=multilingual
        ),
        timestamp_tokens=tuple(tokenizer.convert_tokens_to_ids(["<|0.00|>", "<|30.00|>"])),
    )


def _one_token(given: int | list[int]) -> int:
    """Return the first of the tokens that generation stops at."""
    return given[0] if isinstance(given, list) else given


def _start_tokens(
    tokenizer: object, languages: set[str], *, multilingual: bool
) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Return the tokens that a transcript starts with, by language and task."""
    if not multilingual:
        return (("transcribe", tuple(tokenizer.prefix_tokens)),)  # type: ignore[attr-defined]
    prompts = []
    for language in sorted(languages.intersection(SAMPLE_PROMPT_LANGUAGES)):
        for task in ("transcribe", "translate"):
            tokenizer.set_prefix_tokens(language=language, task=task)  # type: ignore[attr-defined]
            prompts.append((f"{language} {task}", tuple(tokenizer.prefix_tokens)))  # type: ignore[attr-defined]
    return tuple(prompts)


def check_identity(folder: Path, expected: Identity) -> None:
    """Check that a folder has the settings of the checkpoint.

    Raises:
        ParityError: a setting differs; the message names it and both values.
    """
    found = read_identity(folder)
    for field in fields(Identity):
        want, have = getattr(expected, field.name), getattr(found, field.name)
        if want != have:
            raise ParityError(
                f"{folder.name}: {field.name} is {_short(have)} after saving, was {_short(want)} in the checkpoint; "
                "the exporter changed it, which would change transcripts"
            )


def _short(value: object, limit: int = 80) -> str:
    text = str(value)
    return text if len(text) <= limit else f"{text[:limit]}..."
