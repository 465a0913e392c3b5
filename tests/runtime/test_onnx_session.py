"""ONNX variants in the runtime: the same text as OpenVINO's, without a library more than needed."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sottovoce.errors import InputError, SpecError
from sottovoce.runtime import TranscribeOptions, load
from sottovoce.runtime.model.base import Encoded
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.elastic import FULL_WINDOW
from sottovoce.runtime.model.encoder import Encoder
from sottovoce.runtime.model.load import load_decoder
from sottovoce.terms import Component
from tests.support.tones import tone

TOKENS = ((5, 6, 7), (8,), (9,), (10,))
GREEDY = TranscribeOptions(language="en", temperature=0.0, vad_filter=False)


def states(batch: int = 1) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(0).standard_normal((batch, 1500, 64)).astype(np.float32)


@pytest.mark.parametrize("options", [GREEDY, replace(GREEDY, beam_size=3)], ids=["greedy", "beams"])
def test_both_formats_give_the_same_text(tiny_onnx: Path, baseline: Path, options: TranscribeOptions) -> None:
    texts = [load(folder).transcribe(tone(3.0), options).text for folder in (tiny_onnx, baseline)]
    assert texts[0] == texts[1] != ""


def test_both_formats_give_the_same_text_of_a_long_recording(tiny_onnx: Path, baseline: Path) -> None:
    wave = np.concatenate([tone(25.0), tone(25.0, pitch_hz=500.0), tone(20.0, pitch_hz=300.0)])
    untimed = replace(GREEDY, without_timestamps=True)  # an ONNX graph shows no attention to take times from
    texts = [load(folder).transcribe(wave, untimed).text for folder in (tiny_onnx, baseline)]
    assert texts[0] == texts[1] != ""


def test_both_formats_give_the_same_logits(tiny_onnx: Path, baseline: Path) -> None:
    decoders = [load_decoder(folder, ComputeSpec()) for folder in (tiny_onnx, baseline)]
    for _ in range(2):  # a second start forgets the first
        given = states()
        for decoder in decoders:
            decoder.start(Encoded(given))
        for tokens in TOKENS:
            found, expected = (decoder.run(np.array([tokens])) for decoder in decoders)
            np.testing.assert_allclose(found, expected, atol=2e-4)


def test_logits_are_given_for_the_tokens_in_at(tiny_onnx: Path) -> None:
    decoder = load_decoder(tiny_onnx, ComputeSpec())
    given, tokens = states(), np.array([[5, 6, 7, 8]])
    decoder.start(Encoded(given))
    every = decoder.run(tokens).copy()
    decoder.start(Encoded(given))
    np.testing.assert_allclose(decoder.run(tokens, at=(1, 3)), every[:, [1, 3]], atol=1e-4)


def test_logits_may_be_changed(tiny_onnx: Path) -> None:
    decoder = load_decoder(tiny_onnx, ComputeSpec())
    decoder.start(Encoded(states()))
    for tokens in TOKENS:
        decoder.run(np.array([tokens]))[:, -1] = -np.inf


def test_a_choice_of_rows_holds_for_one_run(tiny_onnx: Path) -> None:
    decoder = load_decoder(tiny_onnx, ComputeSpec())
    given = np.repeat(states(), 2, axis=0)
    decoder.start(Encoded(given))
    decoder.run(np.array([[5, 6], [7, 8]]))
    decoder.select([1, 1])
    decoder.run(np.array([[9], [10]]))
    after = decoder.run(np.array([[11], [11]]))[:, -1].copy()
    for row, tokens in enumerate(((7, 8, 9), (7, 8, 10))):
        alone = states()
        decoder.start(Encoded(alone))
        for token in (tokens[:2], tokens[2:]):
            decoder.run(np.array([token]))
        np.testing.assert_allclose(decoder.run(np.array([[11]]))[0, -1], after[row], atol=2e-4)


def test_both_formats_encode_the_same(tiny_onnx: Path, baseline: Path) -> None:
    features = np.random.default_rng(1).standard_normal((1, 80, 3000)).astype(np.float32)
    encoders = [Encoder.load(folder, ComputeSpec()) for folder in (tiny_onnx, baseline)]
    assert [encoder.n_mels for encoder in encoders] == [80, 80]
    assert not encoders[0].is_elastic
    found, expected = (encoder.encode(features, FULL_WINDOW) for encoder in encoders)
    np.testing.assert_allclose(found.states, expected.states, atol=1e-4)


def test_a_session_has_the_threads_of_the_call(tiny_onnx: Path) -> None:
    transcriber = load(tiny_onnx, threads=1)
    for component in Component:
        options = transcriber.compiled(component).get_session_options()
        assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)


def test_word_timestamps_are_refused_before_any_work(tiny_onnx: Path) -> None:
    transcriber = load(tiny_onnx)
    with pytest.raises(SpecError, match="word timestamps need an OpenVINO variant"):
        transcriber.transcribe(tone(1.0), TranscribeOptions(word_timestamps=True))


@pytest.mark.parametrize("name", ["encoder_model.onnx", "decoder_model.onnx", "decoder_with_past_model.onnx"])
def test_a_damaged_graph_is_named(tiny_onnx: Path, tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(tiny_onnx, tmp_path / "damaged"))
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=rf"{name} cannot be read.*make the variant again"):
        load(folder)


def test_a_missing_decoder_is_named(tiny_onnx: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_onnx, tmp_path / "half"))
    (folder / "decoder_model.onnx").unlink()
    with pytest.raises(InputError, match=r"decoder_model\.onnx cannot be read"):
        load(folder)


def loaded_by(code: str) -> set[str]:
    names = "import sys; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{names}"], capture_output=True, text=True, check=True, timeout=120
    )
    return set(done.stdout.split())


def test_a_device_needs_no_torch_and_no_onnx_for_it(tiny_onnx: Path) -> None:
    loaded = loaded_by(
        "from sottovoce.runtime import load; import numpy\n"
        f"load({str(tiny_onnx)!r}).transcribe(numpy.full(16000, 0.1, numpy.float32))"
    )
    assert "onnxruntime" in loaded
    assert loaded.isdisjoint({"torch", "transformers", "optimum", "nncf", "onnx"})


def test_onnxruntime_is_not_loaded_for_an_openvino_variant(baseline: Path) -> None:
    loaded = loaded_by(f"from sottovoce.runtime import load\nload({str(baseline)!r})")
    assert "openvino" in loaded
    assert "onnxruntime" not in loaded


def test_without_onnxruntime_the_extra_is_named(tiny_onnx: Path) -> None:
    code = (
        "import sys; sys.modules['onnxruntime'] = None\n"
        "from sottovoce.errors import MissingExtraError\n"
        "from sottovoce.runtime import load\n"
        f"try: load({str(tiny_onnx)!r})\n"
        "except MissingExtraError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert 'pip install "sottovoce[onnx]"' in done.stdout
