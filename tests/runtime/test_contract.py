"""What every transcriber does, whichever library runs its variant."""

import gc
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from sottovoce.errors import InputError, SpecError
from sottovoce.runtime import Segment, Task, TranscribeOptions, Transcriber, Transcript, load
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import Wave
from sottovoce.runtime.transcript import Phase
from sottovoce.terms import Component, Format
from tests.support.tones import tone

GREEDY = TranscribeOptions(temperature=0.0, vad_filter=False)


@pytest.fixture(scope="module")
def folders(
    tiny: Path, tiny_run: Path, tiny_onnx: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[Format, Path]:
    """Hold one checkpoint in every format; CTranslate2 takes its small vocabulary for that of an English-only model."""
    pytest.importorskip("faster_whisper", reason="the extra `ct2` is not installed")
    from sottovoce.optimize.ctranslate2.export import export_ctranslate2
    from sottovoce.terms import Ctranslate2Type

    converted = tmp_path_factory.mktemp("ctranslate2") / "float32"
    export_ctranslate2(tiny, converted, Ctranslate2Type.FLOAT32)
    return {
        Format.OPENVINO: tiny_run / "fp32-stateful",
        Format.ONNX: tiny_onnx,
        Format.CTRANSLATE2: converted,
    }


@pytest.fixture(scope="module", params=list(Format))
def transcriber(folders: dict[Format, Path], request: pytest.FixtureRequest) -> Transcriber:
    return load(folders[request.param], threads=1)


def long_wave() -> Wave:
    return np.concatenate([tone(25.0), tone(25.0, pitch_hz=500.0), tone(20.0, pitch_hz=300.0)])


def test_a_transcript_is_complete(transcriber: Transcriber) -> None:
    language = transcriber.languages[-1]
    transcript = transcriber.transcribe(tone(3.0), replace(GREEDY, language=language))
    assert isinstance(transcript, Transcript)
    assert transcript.text != ""
    assert (transcript.language, transcript.language_probability) == (language, 1.0)
    assert transcript.duration_s == pytest.approx(3.0)
    assert transcript.n_tokens > 0
    assert transcript.timings.calls[Phase.ENCODER] == 1
    assert sum(transcript.timings.phase_s.values()) == pytest.approx(transcript.timings.total_s, rel=1e-6)


@pytest.mark.parametrize("options", [GREEDY, replace(GREEDY, condition_on_previous_text=True)])
def test_segments_of_long_audio_are_in_order_and_within_it(
    transcriber: Transcriber, options: TranscribeOptions
) -> None:
    done: list[float] = []
    segments = transcriber.transcribe(
        long_wave(), replace(options, language="en"), progress=done.append
    ).segments
    assert segments
    assert all(before.start_s <= after.start_s for before, after in pairwise(segments))
    assert all(0 <= segment.start_s <= segment.end_s <= 70.0 for segment in segments)
    assert all(segment.text == segment.text.strip() for segment in segments)
    assert done == sorted(done)
    assert done[-1] == pytest.approx(70.0)


@pytest.mark.parametrize("wave", [tone(3.0), long_wave()], ids=["short", "long"])
def test_segments_one_by_one_are_those_of_the_transcript(transcriber: Transcriber, wave: Wave) -> None:
    stream = transcriber.segments(wave, GREEDY)
    segments: list[Segment] = list(stream)
    transcript = transcriber.transcribe(wave, GREEDY)
    assert tuple(segments) == transcript.segments
    assert stream.detected.language == transcript.language
    rest = stream.transcript()
    assert rest.segments == ()
    assert (rest.language, rest.duration_s) == (transcript.language, transcript.duration_s)


def test_a_segment_is_given_before_the_audio_is_decoded_to_its_end(transcriber: Transcriber) -> None:
    done: list[float] = []
    options = replace(GREEDY, language="en", batch_size=1)
    stream = transcriber.segments(long_wave(), options, progress=done.append)
    first = next(stream)
    assert max(done, default=0.0) < 70.0
    assert first.start_s < 30.0
    assert len(tuple(stream)) > 0


def test_silence_has_no_segments_and_no_detected_language(transcriber: Transcriber) -> None:
    transcript = transcriber.transcribe(np.zeros(SAMPLE_RATE_HZ, np.float32))
    assert transcript.segments == ()
    assert transcript.language == "en"
    assert transcript.language_probability == float(len(transcriber.languages) == 1)


def test_a_language_that_is_not_given_is_detected(transcriber: Transcriber) -> None:
    detected = transcriber.detect_language(tone(3.0))
    transcript = transcriber.transcribe(tone(3.0), GREEDY)
    assert transcript.language == detected.language
    assert (
        max(detected.probabilities, default="en", key=detected.probabilities.__getitem__) == detected.language
    )
    assert set(detected.probabilities) in (set(), set(transcriber.languages))
    assert transcript.language in transcriber.languages
    assert transcript.language_probability == pytest.approx(detected.probability, abs=1e-3)


def test_our_own_decoding_detects_the_same_language(folders: dict[Format, Path]) -> None:
    ours = (Format.OPENVINO, Format.ONNX)
    found = {load(folders[each], threads=1).detect_language(tone(3.0)).language for each in ours}
    assert len(found) == 1


def test_our_own_decoding_gives_the_same_text(folders: dict[Format, Path]) -> None:
    options = replace(GREEDY, language="en", without_timestamps=True)
    ours = [load(folders[each], threads=1) for each in (Format.OPENVINO, Format.ONNX)]
    texts = {transcriber.transcribe(tone(3.0), options).text for transcriber in ours}
    assert len(texts) == 1
    assert texts != {""}


@pytest.mark.parametrize(
    "options",
    [
        replace(GREEDY, without_timestamps=True, beam_size=2, length_penalty=1.0),
        replace(GREEDY, beam_size=2, patience=2.0, repetition_penalty=1.1, no_repeat_ngram_size=3),
        replace(GREEDY, suppress_tokens=(-1, 5), max_initial_timestamp=0.5),
        replace(GREEDY, temperature=0.7, best_of=3),
        replace(GREEDY, temperature=(0.0, 0.4), initial_prompt="boats", hotwords="harbor"),
        replace(GREEDY, vad_filter=True),
    ],
    ids=["beams", "repetitions", "tokens", "sampling", "prompts", "voice activity"],
)
def test_options_are_taken(transcriber: Transcriber, options: TranscribeOptions) -> None:
    transcript = transcriber.transcribe(tone(3.0), replace(options, language="en"))
    assert transcript.language == "en"
    if options.temperature == 0.7:
        assert {segment.temperature for segment in transcript.segments} == {0.7}


def test_options_are_keywords_too(transcriber: Transcriber) -> None:
    expected = transcriber.transcribe(tone(3.0), replace(GREEDY, language="en", beam_size=2))
    found = transcriber.transcribe(tone(3.0), GREEDY, language="English", beam_size=2)
    assert found.segments == expected.segments
    assert tuple(transcriber.segments(tone(3.0), GREEDY, language="eng", beam_size=2)) == expected.segments
    (batched,) = transcriber.transcribe_batch([tone(3.0)], GREEDY, language="EN", beam_size=2)
    assert (batched.text, batched.language) == (expected.text, "en")
    with pytest.raises(TypeError, match="unknown option n_beams"):
        transcriber.transcribe(tone(3.0), n_beams=5)  # type: ignore[call-arg]
    with pytest.raises(SpecError, match="unknown language Germany; did you mean German"):
        transcriber.transcribe(tone(3.0), language="Germany")


def test_a_translation_needs_a_multilingual_model(transcriber: Transcriber) -> None:
    options = replace(GREEDY, language="en", task=Task.TRANSLATE)
    if len(transcriber.languages) > 1:
        assert transcriber.transcribe(tone(3.0), options).language == "en"
    else:
        with pytest.raises(SpecError, match="an English-only model cannot translate"):
            transcriber.transcribe(tone(3.0), options)


def test_a_batch_gives_what_each_clip_gives_alone(transcriber: Transcriber) -> None:
    waves = [tone(1.0, pitch_hz=300.0), np.zeros(SAMPLE_RATE_HZ, np.float32), tone(2.0, pitch_hz=700.0)]
    options = replace(GREEDY, language="en", batch_size=2)
    batch = transcriber.transcribe_batch(waves, options)
    alone = [transcriber.transcribe(wave, options) for wave in waves]
    assert [transcript.text for transcript in batch] == [transcript.text for transcript in alone]
    assert [transcript.duration_s for transcript in batch] == [1.0, 1.0, 2.0]
    assert transcriber.transcribe_batch([], options) == ()


def test_what_cannot_be_transcribed_is_refused(transcriber: Transcriber) -> None:
    with pytest.raises(SpecError, match="klingon"):
        transcriber.segments("not-there.wav", TranscribeOptions(language="klingon"))
    with pytest.raises(InputError, match=r"not-there\.wav"):
        transcriber.transcribe("not-there.wav")
    with pytest.raises(InputError, match="not finite"):
        transcriber.transcribe(np.full(SAMPLE_RATE_HZ, np.nan, np.float32))


def test_components_are_those_of_the_library(transcriber: Transcriber) -> None:
    assert all(transcriber.compiled(part) is not None for part in (Component.ENCODER, Component.DECODER))


def test_sessions_share_a_model(transcriber: Transcriber) -> None:
    other = transcriber.new_session()
    assert type(other) is type(transcriber)
    assert other.compiled(Component.ENCODER) is transcriber.compiled(Component.ENCODER)


@pytest.mark.parametrize(
    ("form", "most"),
    [
        (Format.OPENVINO, 1),  # of OpenVINO's cache of kernels, see docs/lab-notes.md
        (Format.ONNX, 0),
        (Format.CTRANSLATE2, 0),
    ],
)
def test_a_transcriber_that_is_dropped_leaves_one_thread_at_most(
    folders: dict[Format, Path], form: Format, most: int
) -> None:
    tasks = Path("/proc/self/task")
    if not tasks.is_dir():
        pytest.skip("needs /proc/self/task to count native threads")

    def load_and_drop() -> int:
        load(folders[form], threads=1)
        gc.collect()
        return len(list(tasks.iterdir()))

    load_and_drop()
    before = load_and_drop()
    load_and_drop()
    assert load_and_drop() - before <= 2 * most


def transcribe_in_threads(sessions: Sequence[Transcriber], waves: Sequence[Wave]) -> list[list[Transcript]]:
    """Let each session transcribe all waves, each from another one on."""
    results: list[list[Transcript]] = [[] for _ in sessions]

    def work(index: int) -> None:
        order = [(index + i) % len(waves) for i in range(len(waves))]
        found = {i: sessions[index].transcribe(waves[i], replace(GREEDY, language="en")) for i in order}
        results[index] = [found[i] for i in range(len(waves))]

    threads = [Thread(target=work, args=(index,)) for index in range(len(sessions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_four_threads_give_the_transcripts_of_one(transcriber: Transcriber) -> None:
    waves = [tone(1.0 + i, pitch_hz=200.0 + 150 * i) for i in range(4)] + [long_wave()]
    expected = [transcriber.transcribe(wave, replace(GREEDY, language="en")).segments for wave in waves]
    sessions = [transcriber.new_session() for _ in range(4)]
    for found in transcribe_in_threads(sessions, waves):
        assert [transcript.segments for transcript in found] == expected


def test_threads_that_share_a_transcriber_take_turns(transcriber: Transcriber) -> None:
    waves = [tone(1.0 + i, pitch_hz=200.0 + 150 * i) for i in range(3)] + [long_wave()]
    expected = [transcriber.transcribe(wave, replace(GREEDY, language="en")).segments for wave in waves]
    for found in transcribe_in_threads([transcriber] * 3, waves):
        assert [transcript.segments for transcript in found] == expected


def test_two_streams_of_one_session_do_not_mix(transcriber: Transcriber) -> None:
    options = replace(GREEDY, language="en", batch_size=1)
    waves = [long_wave(), tone(65.0, pitch_hz=900.0)]
    expected = [transcriber.transcribe(wave, options).segments for wave in waves]
    streams = [transcriber.segments(wave, options) for wave in waves]
    found: list[list[Segment]] = [[], []]
    while any(found[i] != list(expected[i]) for i in range(2)):
        before = sum(map(len, found))
        for stream, segments in zip(streams, found, strict=True):
            segments += [each for each in [next(stream, None)] if each is not None]
        assert sum(map(len, found)) > before
    assert [next(stream, None) for stream in streams] == [None, None]
