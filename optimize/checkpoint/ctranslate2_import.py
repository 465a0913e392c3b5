"""Write a CTranslate2 Whisper folder as a Hugging Face checkpoint."""

import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sottovoce.errors import InputError
from sottovoce.optimize.checkpoint.ctranslate2_reader import (
    CTranslate2Model,
    count_layers,
    huggingface_weights,
    read_model,
)
from sottovoce.optimize.checkpoint.files import read_json

if TYPE_CHECKING:
    from pathlib import Path

    from tokenizers import Tokenizer
    from transformers import GenerationConfig, WhisperConfig

logger = logging.getLogger(__name__)

MULTILINGUAL_VOCAB_SIZE = 51865
"""Smallest vocabulary of a multilingual Whisper; the `.en` models have one token less."""

TIMESTAMP_STEP_S = 0.02
"""Whisper's timestamp tokens count in steps of 20 ms (Radford et al. 2022, section 2.3)."""

MAX_INITIAL_TIMESTAMP_INDEX = 50
"""The first timestamp lies in the first second (`max_initial_timestamp` of openai-whisper)."""

LANGUAGE_TOKEN = re.compile(r"<\|([a-z]{2,3})\|>")


@dataclass(frozen=True, slots=True, kw_only=True)
class CTranslate2Files:
    """The files of a CTranslate2 Whisper; the parts of `weights` are joined in order."""

    weights: "tuple[Path, ...]"
    config: "Path"
    tokenizer: "Path"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecialTokens:
    """Ids of Whisper's special tokens."""

    end: int
    start: int
    previous: int
    no_timestamps: int
    languages: dict[str, int]
    tasks: dict[str, int]


def find_files(folder: "Path") -> CTranslate2Files:
    """Find the files of a CTranslate2 Whisper folder.

    Raises:
        InputError: a file is missing.
    """
    files = CTranslate2Files(
        weights=(folder / "model.bin",), config=folder / "config.json", tokenizer=folder / "tokenizer.json"
    )
    for path in (*files.weights, files.config, files.tokenizer):
        if not path.is_file():
            raise InputError(
                f"{folder} is not a complete CTranslate2 Whisper folder: {path.name} is missing; "
                "convert with --copy_files tokenizer.json"
            )
    return files


def write_huggingface_checkpoint(files: CTranslate2Files, into: "Path") -> None:
    """Write `model.safetensors`, the configurations, tokenizer and preprocessor into a folder.

    Raises:
        InputError: the files are damaged, quantized, or not those of a Whisper.
    """
    import numpy as np
    from safetensors.numpy import save_file
    from transformers import WhisperFeatureExtractor

    path = files.weights[0]
    model = read_model(b"".join(part.read_bytes() for part in files.weights), path)
    if model.spec != "WhisperSpec":
        raise InputError(
            f"{path} is a CTranslate2 {model.spec}, want a WhisperSpec: it is not a Whisper model"
        )
    weights = huggingface_weights(model, path)
    settings = read_json(files.config)
    vocab_size = int(weights["model.decoder.embed_tokens.weight"].shape[0])
    tokenizer = _complete_tokenizer(files.tokenizer, vocab_size)
    special = special_tokens(tokenizer, files.tokenizer)

    into.mkdir(parents=True, exist_ok=True)
    config = model_config(model, special)
    config.save_pretrained(into)
    generation_config(config, special, settings).save_pretrained(into)
    WhisperFeatureExtractor(feature_size=config.num_mel_bins).save_pretrained(into)
    _save_tokenizer(tokenizer, into)
    save_file(
        {name: np.ascontiguousarray(value) for name, value in weights.items()},
        into / "model.safetensors",
        {"format": "pt"},
    )
    logger.info("wrote %d tensors of %s as a Hugging Face checkpoint", len(weights), path)


def _complete_tokenizer(path: "Path", vocab_size: int) -> "Tokenizer":
    """Load `tokenizer.json`, and add the timestamp tokens if they are missing.

    The `.en` files of some converters end at `<|notimestamps|>` although the model has 1,501 more tokens; without them
    a transcript with timestamps decodes to an empty text.
    """
    from tokenizers import AddedToken, Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as cause:  # tokenizers raises a bare Exception for every kind of damage
        raise InputError(f"{path} is not a tokenizer ({cause}); copy it again") from cause
    missing = vocab_size - tokenizer.get_vocab_size()
    if missing > 0 and tokenizer.token_to_id("<|0.00|>") is None:
        stamps = [f"<|{i * TIMESTAMP_STEP_S:.2f}|>" for i in range(missing)]
        tokenizer.add_tokens([AddedToken(stamp, normalized=False, special=False) for stamp in stamps])
    return tokenizer


def special_tokens(tokenizer: "Tokenizer", path: "Path") -> SpecialTokens:
    """Look up Whisper's special tokens by name.

    Raises:
        InputError: a token is missing, so it is not Whisper's tokenizer.
    """

    def token_id(token: str) -> int:
        found = tokenizer.token_to_id(token)
        if found is None:
            raise InputError(f"{path} has no token {token}: it is not a Whisper tokenizer")
        return int(found)

    start, translate = token_id("<|startoftranscript|>"), token_id("<|translate|>")
    languages = {
        str(tokenizer.id_to_token(i)): i
        for i in range(start + 1, translate)
        if LANGUAGE_TOKEN.fullmatch(str(tokenizer.id_to_token(i)))
    }
    return SpecialTokens(
        end=token_id("<|endoftext|>"),
        start=start,
        previous=token_id("<|startofprev|>"),
        no_timestamps=token_id("<|notimestamps|>"),
        languages=languages,
        tasks={"transcribe": token_id("<|transcribe|>"), "translate": translate},
    )


def model_config(model: CTranslate2Model, special: SpecialTokens) -> "WhisperConfig":
    """Derive the architecture from the shapes of the weights."""
    from transformers import WhisperConfig

    v = model.variables
    vocab_size, d_model = v["decoder/embeddings/weight"].shape
    return WhisperConfig(
        architectures=["WhisperForConditionalGeneration"],
        vocab_size=vocab_size,
        d_model=d_model,
        num_mel_bins=v["encoder/conv1/weight"].shape[1],
        encoder_layers=count_layers(v, "encoder"),
        encoder_attention_heads=int(v["encoder/num_heads"]),
        encoder_ffn_dim=v["encoder/layer_0/ffn/linear_0/weight"].shape[0],
        decoder_layers=count_layers(v, "decoder"),
        decoder_attention_heads=int(v["decoder/num_heads"]),
        decoder_ffn_dim=v["decoder/layer_0/ffn/linear_0/weight"].shape[0],
        max_source_positions=v["encoder/position_encodings/encodings"].shape[0],
        max_target_positions=v["decoder/position_encodings/encodings"].shape[0],
        decoder_start_token_id=special.start,
        bos_token_id=special.end,
        eos_token_id=special.end,
        pad_token_id=special.end,
        begin_suppress_tokens=None,
        dtype=v["decoder/embeddings/weight"].dtype.name,
    )


def generation_config(
    config: "WhisperConfig", special: SpecialTokens, settings: dict[str, Any]
) -> "GenerationConfig":
    """Make the generation settings from CTranslate2's `config.json` and the tokenizer."""
    from transformers import GenerationConfig

    multilingual = config.vocab_size >= MULTILINGUAL_VOCAB_SIZE
    by_language: dict[str, Any] = (
        {"lang_to_id": special.languages, "task_to_id": special.tasks} if multilingual else {}
    )
    return GenerationConfig(
        alignment_heads=[[int(layer), int(head)] for layer, head in settings.get("alignment_heads", [])],
        suppress_tokens=settings.get("suppress_ids", []),
        begin_suppress_tokens=settings.get("suppress_ids_begin", []),
        is_multilingual=multilingual,
        no_timestamps_token_id=special.no_timestamps,
        prev_sot_token_id=special.previous,
        decoder_start_token_id=special.start,
        bos_token_id=special.end,
        eos_token_id=special.end,
        pad_token_id=special.end,
        max_initial_timestamp_index=MAX_INITIAL_TIMESTAMP_INDEX,
        max_length=config.max_target_positions,
        return_timestamps=False,
        **by_language,
    )


def _save_tokenizer(tokenizer: "Tokenizer", into: "Path") -> None:
    from transformers import WhisperTokenizerFast

    end = "<|endoftext|>"
    WhisperTokenizerFast(
        tokenizer_object=tokenizer, bos_token=end, eos_token=end, unk_token=end, pad_token=end
    ).save_pretrained(into)
