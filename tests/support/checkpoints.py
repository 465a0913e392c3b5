"""Random Whisper checkpoints with a tiny tokenizer, for tests.

The same arguments give the same bytes on one version of the libraries.
"""

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sottovoce.reference_pipeline import quiet_libraries
from tests.support.tones import CORPUS

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import GenerationConfig, WhisperConfig

TINY_D_MODEL = 64
TINY_HEADS = 2
TINY_FFN = 128
TINY_ENCODER_LAYERS = 2
TINY_MERGES = 120
TINY_MAX_TOKENS = 24
"""Length of all transcripts: a random model does not end by itself."""

WEIGHT_STD = 0.2
EMBEDDING_STD = 0.2
POSITION_STD = 0.3
"""Wide enough that the tokens of a random model depend on the audio and on the position in the text."""

SPECIAL_SHARE = 0.1
"""Of the embeddings of special tokens and timestamps: small, so that a random model says text."""

N_TIMESTAMPS = 1501
"""<|0.00|> to <|30.00|> in steps of 20 ms."""

N_LANGUAGES, N_LANGUAGES_V3 = 99, 100
N_TEXT_TOKENS = 50_257


def tiny_checkpoint(
    folder: Path, *, n_mels: int = 80, decoder_layers: int = 2, multilingual: bool = True, seed: int = 0
) -> Path:
    """Write a random Whisper of 0.3 million weights as a Hugging Face folder.

    Its tokenizer is a byte-level BPE of some 400 tokens, with all of Whisper's special tokens and
    timestamps at their places behind it.

    Args:
        folder: is made where it is not there.
        n_mels: 80, or 128 as in large-v3.
        decoder_layers: the encoder has two.
        multilingual: with languages and tasks, or English-only.
        seed: of the weights.

    Returns:
        The folder.
    """
    tokenizer = tiny_tokenizer()
    config = _config(
        tokenizer,
        num_mel_bins=n_mels,
        d_model=TINY_D_MODEL,
        encoder_layers=TINY_ENCODER_LAYERS,
        decoder_layers=decoder_layers,
        encoder_attention_heads=TINY_HEADS,
        decoder_attention_heads=TINY_HEADS,
        encoder_ffn_dim=TINY_FFN,
        decoder_ffn_dim=TINY_FFN,
        init_std=WEIGHT_STD,
    )
    return _write_checkpoint(folder, tokenizer, config, multilingual=multilingual, seed=seed)


def narrow_v3_checkpoint(folder: Path, *, seed: int = 0) -> Path:
    """Write a random Whisper with large-v3's mel bins and vocabulary, as narrow as the tiny one, and turbo's shallow decoder.

    Each of its 51,866 tokens has large-v3's number; text tokens stand for two characters each.

    Args:
        folder: is made where it is not there.
        seed: of the weights.

    Returns:
        The folder.
    """
    tokenizer = v3_tokenizer()
    config = _config(
        tokenizer,
        num_mel_bins=128,
        d_model=TINY_D_MODEL,
        encoder_layers=TINY_ENCODER_LAYERS,
        decoder_layers=1,
        encoder_attention_heads=TINY_HEADS,
        decoder_attention_heads=TINY_HEADS,
        encoder_ffn_dim=TINY_FFN,
        decoder_ffn_dim=TINY_FFN,
        init_std=WEIGHT_STD,
    )
    return _write_checkpoint(folder, tokenizer, config, multilingual=True, seed=seed)


def large_v3_checkpoint(folder: Path, *, layers: int, seed: int = 0) -> Path:
    """Write a random Whisper of large-v3's shapes, cut to a number of layers, as a Hugging Face folder.

    Width, heads, mel bins and vocabulary are those of openai/whisper-large-v3. The tokenizer is the tiny
    one: most of what the model says has no text.

    Args:
        folder: is made where it is not there.
        layers: of the encoder, and of the decoder; large-v3 has 32.
        seed: of the weights.

    Returns:
        The folder.
    """
    tokenizer = tiny_tokenizer()
    config = _config(
        tokenizer,
        num_mel_bins=128,
        d_model=1280,
        encoder_layers=layers,
        decoder_layers=layers,
        encoder_attention_heads=20,
        decoder_attention_heads=20,
        encoder_ffn_dim=5120,
        decoder_ffn_dim=5120,
        vocab_size=51_866,
    )
    return _write_checkpoint(folder, tokenizer, config, multilingual=True, seed=seed)


def _write_checkpoint(
    folder: Path, tokenizer: "Tokenizer", config: "WhisperConfig", *, multilingual: bool, seed: int
) -> Path:
    import torch
    from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration, WhisperTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    end = "<|endoftext|>"
    with torch.random.fork_rng(), quiet_libraries():
        torch.manual_seed(seed)
        model = WhisperForConditionalGeneration(config).eval()
        _shape_embeddings(model.model.decoder, first_special=config.eos_token_id)
        model.generation_config = _generation_config(tokenizer, config, multilingual=multilingual)
        model.save_pretrained(folder, safe_serialization=True)
        WhisperFeatureExtractor(feature_size=config.num_mel_bins).save_pretrained(folder)
        WhisperTokenizerFast(
            tokenizer_object=tokenizer, bos_token=end, eos_token=end, unk_token=end, pad_token=end
        ).save_pretrained(folder)
    return folder


def _shape_embeddings(decoder: Any, *, first_special: int) -> None:
    import torch

    with torch.no_grad():
        decoder.embed_tokens.weight.mul_(EMBEDDING_STD / WEIGHT_STD)
        decoder.embed_tokens.weight[first_special:].mul_(SPECIAL_SHARE)
        decoder.embed_positions.weight.mul_(POSITION_STD / WEIGHT_STD)


def tiny_tokenizer() -> "Tokenizer":
    """Make Whisper's tokenizer in small: byte-level BPE, special tokens, timestamps, in this order."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=len(alphabet) + TINY_MERGES, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    _add_special(tokenizer, N_LANGUAGES)
    return tokenizer


def v3_tokenizer() -> "Tokenizer":
    """Make a tokenizer whose tokens have the numbers of large-v3's: 50,257 of text, and one more language than before."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pairs = (first + second for first in alphabet for second in alphabet)
    words = [*alphabet, *islice(pairs, N_TEXT_TOKENS - len(alphabet))]
    tokenizer = Tokenizer(models.BPE(vocab={word: i for i, word in enumerate(words)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    _add_special(tokenizer, N_LANGUAGES_V3)
    return tokenizer


def _add_special(tokenizer: "Tokenizer", n_languages: int) -> None:
    from tokenizers import AddedToken

    tokenizer.add_special_tokens(
        [AddedToken(token, normalized=False, special=True) for token in _special_tokens(n_languages)]
    )
    stamps = [f"<|{i * 0.02:.2f}|>" for i in range(N_TIMESTAMPS)]
    tokenizer.add_tokens([AddedToken(stamp, normalized=False, special=False) for stamp in stamps])


def _languages(n: int) -> list[str]:
    from transformers.models.whisper.tokenization_whisper import LANGUAGES

    return list(LANGUAGES)[:n]


def _special_tokens(n_languages: int) -> list[str]:
    tasks = ("translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps")
    names = ("endoftext", "startoftranscript", *_languages(n_languages), *tasks)
    return [f"<|{name}|>" for name in names]


def _config(tokenizer: "Tokenizer", **shape: Any) -> "WhisperConfig":
    from transformers import WhisperConfig

    end = tokenizer.token_to_id("<|endoftext|>")
    return WhisperConfig(
        architectures=["WhisperForConditionalGeneration"],
        decoder_start_token_id=tokenizer.token_to_id("<|startoftranscript|>"),
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        begin_suppress_tokens=None,
        **({"vocab_size": tokenizer.get_vocab_size()} | shape),
    )


def _generation_config(
    tokenizer: "Tokenizer", config: "WhisperConfig", *, multilingual: bool
) -> "GenerationConfig":
    from transformers import GenerationConfig

    token_id = tokenizer.token_to_id
    end = config.eos_token_id
    by_language: dict[str, Any] = {
        "lang_to_id": {
            f"<|{code}|>": number
            for code in _languages(N_LANGUAGES_V3)
            if (number := token_id(f"<|{code}|>")) is not None
        },
        "task_to_id": {task: token_id(f"<|{task}|>") for task in ("transcribe", "translate")},
    }
    return GenerationConfig(
        alignment_heads=[[config.decoder_layers - 1, 0], [config.decoder_layers - 1, 1]],
        suppress_tokens=[1, 2, 7, *range(token_id("<|startoftranscript|>"), token_id("<|notimestamps|>"))],
        begin_suppress_tokens=[token_id("Ġ"), end],
        is_multilingual=multilingual,
        no_timestamps_token_id=token_id("<|notimestamps|>"),
        prev_sot_token_id=token_id("<|startofprev|>"),
        decoder_start_token_id=config.decoder_start_token_id,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        max_initial_timestamp_index=50,
        max_length=TINY_MAX_TOKENS,
        return_timestamps=False,
        **(by_language if multilingual else {}),
    )
