"""What tests need and a user could too: a tiny Whisper, tones for speech, an engine that pretends.

Nothing here is random: the same arguments give the same bytes on one version of the libraries.
"""

import json
import math
import multiprocessing
import wave as wav
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sottovoce.benchmark.engines.engine import Engine, EngineSpec, Load
from sottovoce.benchmark.engines.transcription import TimedTranscript
from sottovoce.benchmark.schema.precision import ComponentPrecision, Precision
from sottovoce.reference_pipeline import quiet_libraries
from sottovoce.runtime.audio.decode import SAMPLE_RATE_HZ, Wave
from sottovoce.terms import Stage

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import GenerationConfig, WhisperConfig

TINY_D_MODEL = 64
TINY_HEADS = 2
TINY_FFN = 128
TINY_ENCODER_LAYERS = 2
TINY_MERGES = 120
TINY_MAX_TOKENS = 24
"""A random model never says that it is done: what ends its transcripts."""

WEIGHT_STD = 0.2
EMBEDDING_STD = 0.2
POSITION_STD = 0.3
"""Wide enough that what a random model says depends on what it hears and on the place in the text."""

SPECIAL_SHARE = 0.1
"""Of the embeddings of special tokens and timestamps: small, so that a random model says text."""

N_TIMESTAMPS = 1501
"""<|0.00|> to <|30.00|> in steps of 20 ms."""

CORPUS = (
    "the harbor lights went out one by one before the storm reached the coast",
    "she counted seventeen boats and wrote the number in a small blue book",
    "nobody in the village remembered when the bell had last been rung",
    "we took the early train north and arrived just after the rain had stopped",
)
"""What the tiny tokenizer's merges are learnt from, and what tones are said to say."""


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
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=len(alphabet) + TINY_MERGES, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_special_tokens(
        [AddedToken(token, normalized=False, special=True) for token in _special_tokens()]
    )
    stamps = [f"<|{i * 0.02:.2f}|>" for i in range(N_TIMESTAMPS)]
    tokenizer.add_tokens([AddedToken(stamp, normalized=False, special=False) for stamp in stamps])
    return tokenizer


def _languages() -> list[str]:
    from transformers.models.whisper.tokenization_whisper import LANGUAGES

    return list(LANGUAGES)[:99]


def _special_tokens() -> list[str]:
    tasks = ("translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps")
    names = ("endoftext", "startoftranscript", *_languages(), *tasks)
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
        "lang_to_id": {f"<|{code}|>": token_id(f"<|{code}|>") for code in _languages()},
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


def tone(duration_s: float, *, pitch_hz: float = 220.0, noise: float = 0.01) -> Wave:
    """Return a tone with vibrato and a little noise: float32, shape (n_samples,), 16 kHz."""
    n_samples = round(duration_s * SAMPLE_RATE_HZ)
    time_s = np.arange(n_samples) / SAMPLE_RATE_HZ
    rng = np.random.default_rng(round(pitch_hz * 1000))
    phase = 2 * math.pi * pitch_hz * time_s + 3 * np.sin(2 * math.pi * 5 * time_s)
    loudness = 0.3 * (1 + 0.5 * np.sin(2 * math.pi * 2 * time_s))
    samples = loudness * np.sin(phase) + noise * rng.standard_normal(n_samples)
    return np.asarray(samples, dtype=np.float32)


def write_tone_set(
    folder: Path,
    *,
    n_clips: int = 6,
    duration_s: float = 1.0,
    language: str = "en",
    splits: Sequence[str] = ("calib", "eval"),
) -> Path:
    """Write a speech set of tones of different pitch and length.

    Args:
        folder: is made where it is not there.
        n_clips: split in turn, from speakers of two clips each.
        duration_s: of the first clip; each further one is a tenth longer.
        language: of every clip.
        splits: taken in turn; empty for a set without splits.

    Returns:
        The manifest.
    """
    (folder / "clips").mkdir(parents=True, exist_ok=True)
    rows = []
    for i in range(n_clips):
        samples = tone(duration_s * (1 + i / 10), pitch_hz=150.0 + 40 * i)
        write_wav(folder / "clips" / f"{i:02d}.wav", samples)
        row = {
            "id": f"tone-{i:02d}",
            "audio": f"clips/{i:02d}.wav",
            "text": CORPUS[i % len(CORPUS)],
            "language": language,
            "speaker": f"s{i // 2}",
            "source": "tones",
            "duration_s": round(len(samples) / SAMPLE_RATE_HZ, 3),
        }
        rows.append(row | ({"split": splits[i % len(splits)]} if splits else {}))
    manifest = folder / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return manifest


def write_wav(path: Path, samples: Wave) -> None:
    """Write a wave as 16-bit PCM at 16 kHz."""
    with wav.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())


FAKE_STAGE_SHARES = {
    Stage.FEATURES: 0.1,
    Stage.ENCODER: 0.4,
    Stage.DECODER: 0.1,
    Stage.DECODER_WITH_PAST: 0.3,
    Stage.OTHER: 0.1,
}
"""How a pretended latency falls on the stages."""


class FakeEngine(Engine):
    """An engine that runs nothing: text and times follow from the length of the wave.

    Args:
        factor: pretended seconds of work per second of audio.
        fails_on: lengths in samples of the clips that it fails on.
        dies_on: lengths in samples of the clips that end its process.
    """

    def __init__(
        self, *, factor: float, fails_on: frozenset[int] = frozenset(), dies_on: frozenset[int] = frozenset()
    ) -> None:
        self._factor = factor
        self._fails_on = fails_on
        self._dies_on = dies_on

    def transcribe(self, wave: Wave, language: str | None) -> TimedTranscript:
        """Pretend to transcribe a wave; a second of audio is a word of two tokens."""
        if len(wave) in self._dies_on:
            import os

            os._exit(DEATH_EXIT_CODE)
        if len(wave) in self._fails_on:
            raise RuntimeError(f"cannot hear\n{len(wave)} samples")
        audio_s = len(wave) / SAMPLE_RATE_HZ
        latency_s = self._factor * audio_s
        n_tokens = 2 * math.ceil(audio_s)
        return TimedTranscript(
            text=" ".join([language or "none"] * math.ceil(audio_s)),
            n_tokens=n_tokens,
            latency_s=latency_s,
            stage_s={stage: share * latency_s for stage, share in FAKE_STAGE_SHARES.items()},
            calls={
                Stage.FEATURES: 1,
                Stage.ENCODER: 1,
                Stage.DECODER: 1,
                Stage.DECODER_WITH_PAST: n_tokens - 1,
            },
        )

    def transcribe_batch(
        self, waves: Sequence[Wave], languages: Sequence[str | None], batch_size: int
    ) -> float:
        """Pretend that a batch takes as long as its first clip."""
        pairs = list(zip(waves, languages, strict=True))
        return sum(self.transcribe(*pairs[first]).latency_s for first in range(0, len(pairs), batch_size))

    def precision(self) -> Precision:
        """Pretend to compute in f32."""
        return fake_precision()


DEATH_EXIT_CODE = 3
"""Of a process that a `FakeEngine` ends."""

MISSING_LIBRARY = (
    "/opt/venv/lib/engine.so: libfake.so.2: cannot open shared object file: No such file or directory"
)
"""What the loader says of an engine that is installed and broken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeEngines:
    """Makes a `FakeEngine` for each entry; a worker takes it to its process.

    Attributes:
        factors: pretended seconds of work per second of audio, by entry; 0.1 where none is told.
        fails_on: lengths in samples of the clips that engines fail on, by entry.
        dies_on: lengths in samples of the clips that end the process, by entry.
        unloadable: entries whose libraries cannot be imported.
        unstartable: those of which that holds in the fresh process of a cold start only.
    """

    factors: dict[str, float] = field(default_factory=dict)
    fails_on: dict[str, frozenset[int]] = field(default_factory=dict)
    dies_on: dict[str, frozenset[int]] = field(default_factory=dict)
    unloadable: frozenset[str] = frozenset()
    unstartable: frozenset[str] = frozenset()

    def __call__(self, spec: EngineSpec) -> Load:
        """Return what makes the engine of an entry.

        Raises:
            ImportError: the entry is one of those that cannot be loaded.
        """
        is_cold = multiprocessing.parent_process() is None
        if spec.name in self.unloadable or (is_cold and spec.name in self.unstartable):
            raise ImportError(MISSING_LIBRARY)
        return partial(
            FakeEngine,
            factor=self.factors.get(spec.name, 0.1),
            fails_on=self.fails_on.get(spec.name, frozenset()),
            dies_on=self.dies_on.get(spec.name, frozenset()),
        )


def fake_precision(kind: str = "f32") -> Precision:
    """Return the precision of a variant all of whose nodes compute in `kind`."""
    component = ComponentPrecision(
        inference=kind,
        kv_cache=kind,
        execution_mode="ACCURACY",
        dynamic_quantization_group_size=0,
        nodes={kind: 4},
    )
    return Precision(
        label=kind,
        components=dict.fromkeys(("encoder", "decoder", "decoder_with_past"), component),
        threads=1,
        streams=1,
    )
