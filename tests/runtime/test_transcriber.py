"""The runtime's API on the tiny model: what goes in, what comes out, what is refused."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil
import pytest

from sottovoce.errors import InputError, SpecError
from sottovoce.runtime import Task, TranscribeOptions, Transcriber, load
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import Wave
from sottovoce.runtime.audio.features import log_mel
from sottovoce.runtime.decoding.attempt import Attempt, prefill
from sottovoce.runtime.decoding.context import DecodingContext
from sottovoce.runtime.decoding.gap_recovery import GapRecovery
from sottovoce.runtime.decoding.logit_filters import LogitFilters
from sottovoce.runtime.decoding.strategies import Greedy
from sottovoce.runtime.decoding.tokenizer import Tokens, WhisperTokenizer
from sottovoce.runtime.decoding.window_decoder import DecodingResult
from sottovoce.runtime.loading import load_model
from sottovoce.runtime.model.base import Encoded, stacked
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.encoder import Encoder
from sottovoce.runtime.model.load import load_decoder
from sottovoce.runtime.pipeline import InferencePipeline
from sottovoce.runtime.transcriber import OpenVinoTranscriber
from sottovoce.runtime.transcript import Phase
from sottovoce.runtime.vad.frames import VoiceActivity
from sottovoce.runtime.vad.segmenter import AudioWindow
from sottovoce.runtime.vad.silero import SileroVoiceActivity
from tests.support.activity import LoudIsSpeech
from tests.support.tones import write_wav

GREEDY = TranscribeOptions(language="en", temperature=0.0, vad_filter=False)
LAYOUTS = ("fp32", "fp32-stateful")


def tone(seconds: float, hz: float = 440.0) -> Wave:
    times = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return (0.3 * np.sin(2 * np.pi * hz * times)).astype(np.float32)


@pytest.fixture(scope="module")
def transcriber(tiny_run: Path) -> Transcriber:
    return load(tiny_run / "fp32-stateful")


@pytest.mark.parametrize("name", LAYOUTS)
def test_windows_decoded_in_a_batch_have_the_text_of_each_alone(tiny_run: Path, name: str) -> None:
    folder, compute = tiny_run / name, ComputeSpec()
    encoder, decoder = Encoder.load(folder, compute), load_decoder(folder, compute)
    tokenizer = WhisperTokenizer.load(folder)
    special = tokenizer.special
    prompt = tokenizer.prompt(language="en", task=Task.TRANSCRIBE, with_timestamps=False)
    filters = LogitFilters(special, with_timestamps=False)
    states = [
        encoder.encode(log_mel(tone(2.0, hz), n_mels=80), encoder.plan(32_000)) for hz in (220, 440, 3_000)
    ]
    limits = (18, 7, 30)

    alone: list[Attempt] = []
    for state, limit in zip(states, limits, strict=True):
        decoder.start(state)
        alone += Greedy().decode(decoder, prefill(decoder, prompt, special), filters, [limit])
    decoder.start(stacked(states))
    prefilled = prefill(decoder, prompt, special, n_windows=len(states))
    together = Greedy().decode(decoder, prefilled, filters, limits)

    assert [attempt.tokens for attempt in together] == [attempt.tokens for attempt in alone]
    assert [attempt.has_looped for attempt in together] == [attempt.has_looped for attempt in alone]
    for one, other in zip(together, alone, strict=True):
        assert one.mean_log_probability == pytest.approx(other.mean_log_probability, abs=1e-4)


def test_both_layouts_give_the_same_text(tiny_run: Path) -> None:
    texts = {name: load(tiny_run / name).transcribe(tone(3.0), GREEDY).text for name in LAYOUTS}
    assert texts["fp32"] == texts["fp32-stateful"] != ""


def test_a_run_means_its_quantized_variant(tiny_run: Path) -> None:
    by_run = load(tiny_run).transcribe(tone(3.0), GREEDY)
    by_name = load(tiny_run / "int8").transcribe(tone(3.0), GREEDY)
    assert by_run.segments == by_name.segments


@pytest.mark.parametrize(
    "wave", [np.zeros(0, np.float32), np.ones(1, np.float32), np.zeros(48_000, np.float32)]
)
def test_nothing_and_silence_have_no_text(transcriber: Transcriber, wave: Wave) -> None:
    transcript = transcriber.transcribe(wave)
    assert transcript.segments == ()
    assert transcript.text == ""
    assert transcript.duration_s == len(wave) / SAMPLE_RATE_HZ
    assert transcript.notes == ("no text: the audio is silent",)


@pytest.mark.parametrize("silence_s", [0.0, 1.5, 2.0, 10.0, 25.0])
@pytest.mark.parametrize("noise", [0.0, 1e-4])
def test_a_short_clip_whose_speech_starts_late_has_its_times(
    transcriber: Transcriber, silence_s: float, noise: float
) -> None:
    silence = noise * np.random.default_rng(0).standard_normal(round(silence_s * SAMPLE_RATE_HZ))
    wave = np.concatenate([silence.astype(np.float32), tone(3.0)])
    segments = transcriber.transcribe(wave, GREEDY).segments
    first_s = silence_s - 0.5 if silence_s >= 2.0 else 0.0
    assert segments[0].start_s >= first_s - 1e-6
    assert segments[-1].end_s <= silence_s + 3.0 + 1e-6
    assert segments[0].start_s <= first_s + 1.0


@pytest.mark.parametrize(
    ("wave", "message"),
    [
        (np.full(32_000, np.nan, np.float32), "not finite"),
        (np.zeros((2, 16_000), np.float32), "shape"),
        (np.zeros(16_000, np.float64), "float64"),
    ],
)
def test_waves_that_are_none_are_refused(transcriber: Transcriber, wave: Wave, message: str) -> None:
    with pytest.raises(InputError, match=message):
        transcriber.transcribe(wave)


def test_an_unknown_language_is_refused_before_the_audio_is_read(transcriber: Transcriber) -> None:
    with pytest.raises(SpecError, match="klingon"):
        transcriber.transcribe("not-there.wav", TranscribeOptions(language="klingon"))


@pytest.mark.parametrize("sequential", [False, True])
def test_long_audio_gives_segments_in_order_within_the_audio(
    transcriber: Transcriber, *, sequential: bool
) -> None:
    options = TranscribeOptions(
        language="en", temperature=0.0, vad_filter=False, condition_on_previous_text=sequential
    )
    done: list[float] = []
    wave = np.concatenate([tone(20), np.zeros(80_000, np.float32), tone(45, 300.0)])
    transcript = transcriber.transcribe(wave, options, progress=done.append)
    assert transcript.segments
    starts = [segment.start_s for segment in transcript.segments]
    assert starts == sorted(starts)
    assert all(0 <= s.start_s <= s.end_s <= 70 for s in transcript.segments)
    assert done == sorted(done)
    assert done[-1] == pytest.approx(70)


def test_progress_moves_while_one_batch_of_long_audio_is_decoded(transcriber: Transcriber) -> None:
    done: list[float] = []
    stream = transcriber.segments(tone(70), replace(GREEDY, vad_filter=False), progress=done.append)
    next(stream)
    assert done == sorted(done)
    assert done[-1] == pytest.approx(70)  # one batch holds it all
    seconds = {int(done_s) for done_s in done}
    assert len(seconds) >= 7
    assert max(after - before for before, after in pairwise((0.0, *done))) < 25


@pytest.mark.parametrize("words", [False, True])
def test_times_of_long_audio_change_no_word_of_it(transcriber: Transcriber, *, words: bool) -> None:
    """With timestamp tokens Whisper leaves speech out: times are taken from the alignment."""
    plain = replace(GREEDY, without_timestamps=True)
    untimed = transcriber.transcribe(tone(70.0), plain)
    timed = transcriber.transcribe(tone(70.0), replace(GREEDY, word_timestamps=words))
    tokens = [token for segment in timed.segments for token in segment.tokens]
    assert tokens == [token for segment in untimed.segments for token in segment.tokens] != []
    assert len(timed.segments) > len(untimed.segments)
    assert timed.timings.calls[Phase.ALIGNMENT] == len(untimed.segments)
    for before, after in pairwise(timed.segments):
        assert 0 <= before.start_s <= before.end_s <= after.start_s <= after.end_s <= 70.0
    for segment in timed.segments:
        assert bool(segment.words) is words
        if words:
            assert "".join(word.text for word in segment.words).strip() == segment.text


def sure_attempt(tokens: Tokens) -> Attempt:
    return Attempt(
        tokens=tokens,
        sum_log_probability=0.0,
        no_speech_probability=0.0,
        has_looped=False,
        log_probabilities=(0.0,) * len(tokens),
    )


class Hasty:
    """Decodes four seconds of each window, then ends it with a timestamp."""

    def __init__(self, folder: Path) -> None:
        self._special = WhisperTokenizer.load(folder).special
        self.prompts: list[Tokens] = []

    def decode(
        self, windows: Sequence[AudioWindow], prompt: Tokens, context: DecodingContext
    ) -> tuple[DecodingResult, ...]:
        assert isinstance(context, DecodingContext)
        self.prompts.append(prompt)
        return tuple(self._decode_one(window.wave) for window in windows)

    def _decode_one(self, wave: Wave) -> DecodingResult:
        duration_s = len(wave) / SAMPLE_RATE_HZ
        first = self._special.first_timestamp
        tokens = (first, 5, first + round(min(4.0, duration_s) / 0.02))
        attempt = sure_attempt(tokens)
        return DecodingResult(
            attempt=attempt,
            encoded=Encoded(np.zeros((1, 1, 1), np.float32)),
            compression_ratio=1.0,
            is_no_speech=False,
        )


class Terse(Hasty):
    """Decodes a word a second of short windows, and a single one of those longer than seven seconds."""

    def _decode_one(self, wave: Wave) -> DecodingResult:
        duration_s = len(wave) / SAMPLE_RATE_HZ
        n_words = 1 if duration_s > 7 else int(duration_s)
        return replace(super()._decode_one(wave), attempt=sure_attempt((5,) * n_words))


class Looping(Hasty):
    """Decodes a word of short windows, and the same word thirty times of those longer than seven seconds."""

    def _decode_one(self, wave: Wave) -> DecodingResult:
        is_long = len(wave) > 7 * SAMPLE_RATE_HZ
        attempt = sure_attempt((5,) * (30 if is_long else 1))
        return replace(super()._decode_one(wave), attempt=attempt, has_repeated=is_long)


class Unsure(Hasty):
    """Decodes as `Hasty`, but may have taken noise for speech."""

    def _decode_one(self, wave: Wave) -> DecodingResult:
        result = super()._decode_one(wave)
        return replace(result, attempt=replace(result.attempt, no_speech_probability=0.5))


class CutOff(Hasty):
    """Decodes one sentence to two seconds before the end of a window, where another starts."""

    def _decode_one(self, wave: Wave) -> DecodingResult:
        first = self._special.first_timestamp
        end = first + round((len(wave) / SAMPLE_RATE_HZ - 2) / 0.02)
        tokens = (first, 5, end, end) if len(wave) > 3 * SAMPLE_RATE_HZ else (first, 6)
        attempt = sure_attempt(tokens)
        return replace(super()._decode_one(wave), attempt=attempt)


def transcriber_with(
    windows: Hasty, folder: Path, activity: VoiceActivity | None = None
) -> OpenVinoTranscriber:
    """Open a variant that decodes by `windows`, and by default takes what is loud for speech."""
    model = load_model(folder)
    session = replace(model.session(), window_decoder=windows)  # type: ignore[arg-type]
    return OpenVinoTranscriber(model, InferencePipeline(session, GapRecovery(activity or LoudIsSpeech())))


@pytest.mark.parametrize(("duration_s", "task"), [(10.0, Task.TRANSCRIBE), (70.0, Task.TRANSLATE)])
def test_speech_that_the_model_left_out_is_decoded_again(
    tiny_run: Path, duration_s: float, task: Task
) -> None:
    """With timestamps Whisper at times ends a window before its speech ends."""
    folder = tiny_run / "fp32-stateful"
    transcriber = transcriber_with(Hasty(folder), folder)
    options = TranscribeOptions(language="en", task=task)
    done: list[float] = []
    segments = transcriber.transcribe(tone(duration_s), options, progress=done.append).segments
    assert all(after > before - 0.01 for before, after in pairwise(done))
    assert [s.start_s for s in segments] == sorted(s.start_s for s in segments)
    assert segments[-1].end_s > duration_s - 1.3
    assert all(after.start_s - before.end_s < 1.3 for before, after in pairwise(segments))


@pytest.mark.parametrize("duration_s", [7.5, 20.0, 70.0])
def test_a_window_with_hardly_a_word_for_its_speech_is_resegmented(tiny_run: Path, duration_s: float) -> None:
    """Cut within a sentence, "Good grace. 'Tis fine for you to talk ..." became "Good grace." and 13 s were lost."""
    folder = tiny_run / "fp32-stateful"
    transcriber = transcriber_with(Terse(folder), folder)
    options = TranscribeOptions(language="en", without_timestamps=True)
    transcript = transcriber.transcribe(tone(duration_s), options)
    segments = transcript.segments
    assert sum(len(segment.tokens) for segment in segments) > 0.7 * duration_s
    assert segments[0].start_s < 0.7
    assert segments[-1].end_s > duration_s - 0.7
    assert all(after.start_s - before.end_s < 0.7 for before, after in pairwise(segments))
    assert transcript.timings.n_redone >= 1


def cut_off(tiny_run: Path) -> tuple[Transcriber, CutOff]:
    folder = tiny_run / "fp32-stateful"
    windows = CutOff(folder)
    return transcriber_with(windows, folder), windows


def test_a_sentence_that_a_window_cuts_off_starts_the_next(tiny_run: Path) -> None:
    transcriber, _ = cut_off(tiny_run)
    options = TranscribeOptions(language="en", vad_filter=False, condition_on_previous_text=True)
    segments = transcriber.transcribe(tone(70.0), options).segments
    assert [(round(s.start_s), round(s.end_s)) for s in segments] == [(0, 28), (28, 56), (56, 68), (68, 70)]


def test_a_prompt_stands_before_the_first_window_and_hotwords_before_each(tiny_run: Path) -> None:
    transcriber, windows = cut_off(tiny_run)
    tokenizer = WhisperTokenizer.load(tiny_run / "fp32-stateful")
    hotwords, initial = tokenizer.encode(" harbor"), tokenizer.encode(" boats")
    options = TranscribeOptions(
        language="en", vad_filter=False, condition_on_previous_text=True, hotwords="harbor", initial_prompt="boats"
    )  # fmt: skip
    transcriber.transcribe(tone(70.0), options)
    before = [prompt[1 : prompt.index(tokenizer.special.start)] for prompt in windows.prompts]
    first = tokenizer.special.first_timestamp
    sentence, shorter = (first, 5, first + 1400), (first, 5, first + 600)
    assert before == [
        hotwords + initial,
        hotwords + initial + sentence,
        hotwords + initial + sentence * 2,
        hotwords + initial + sentence * 2 + shorter,
    ]


def test_a_long_prompt_leaves_the_hotwords_in_place(tiny_run: Path) -> None:
    """The prompt keeps its end: hotwords stood before a prompt of more than 223 tokens, and were cut off."""
    folder = tiny_run / "fp32-stateful"
    windows = Hasty(folder)
    transcriber = transcriber_with(windows, folder)
    options = TranscribeOptions(language="en", hotwords="lighthouse", initial_prompt="the old harbor " * 100)
    transcriber.transcribe(tone(4.0), options)
    hotwords = WhisperTokenizer.load(folder).encode(" lighthouse")
    assert windows.prompts[0][1 : 1 + len(hotwords)] == hotwords


def test_a_stream_that_is_left_early_closes_its_file(transcriber: Transcriber, tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    write_wav(path, tone(70.0))
    with transcriber.segments(path, replace(GREEDY, batch_size=1)) as stream:
        next(stream)
        assert str(path) in {file.path for file in psutil.Process().open_files()}
    assert str(path) not in {file.path for file in psutil.Process().open_files()}
    assert next(stream, None) is None


def quiet_around(wave: Wave, *, before_s: float, after_s: float) -> Wave:
    random = np.random.default_rng(0)
    before, after = (
        1e-3 * random.standard_normal(round(part_s * SAMPLE_RATE_HZ)) for part_s in (before_s, after_s)
    )
    return np.concatenate([before, wave, after], dtype=np.float32)


def test_a_doubtful_text_of_a_clip_that_is_mostly_noise_is_decoded_again_from_its_speech(
    tiny_run: Path,
) -> None:
    """Of 28 s of music with a blip, "Thank you." was kept, from start to end."""
    folder = tiny_run / "fp32-stateful"
    windows = Unsure(folder)
    clip = quiet_around(tone(3.0), before_s=12.0, after_s=5.0)
    (segment,) = transcriber_with(windows, folder).transcribe(clip, TranscribeOptions(language="en")).segments
    assert segment.start_s == pytest.approx(11.6, abs=0.1)
    assert segment.end_s == pytest.approx(15.4, abs=0.1)
    assert len(windows.prompts) == 2


def test_a_doubtful_text_of_a_clip_without_speech_is_dropped_with_a_note(tiny_run: Path) -> None:
    folder = tiny_run / "fp32-stateful"
    clip = quiet_around(tone(0.0), before_s=4.0, after_s=0.0)
    transcriber = transcriber_with(Unsure(folder), folder, SileroVoiceActivity.load())
    dropped = transcriber.transcribe(clip, TranscribeOptions(language="en"))
    assert (dropped.segments, dropped.notes) == ((), ("no text: no speech was found in it",))
    assert transcriber.transcribe(clip, TranscribeOptions(language="en", vad_filter=False)).segments != ()


def test_a_doubtful_text_of_a_clip_that_is_mostly_speech_is_kept(tiny_run: Path) -> None:
    folder = tiny_run / "fp32-stateful"
    windows = Unsure(folder)
    clip = quiet_around(tone(3.0), before_s=1.0, after_s=1.0)
    transcript = transcriber_with(windows, folder).transcribe(clip, TranscribeOptions(language="en"))
    assert transcript.segments
    assert len(windows.prompts) == 1


@pytest.mark.parametrize(
    ("windows", "duration_s", "vad_filter", "expected"),
    [
        (Hasty, 4.0, None, None),
        (Unsure, 4.0, None, "loud"),
        (Hasty, 4.0, True, "loud"),
        (Hasty, 70.0, None, "loud"),
        (Unsure, 70.0, False, None),
    ],
    ids=["a likely text", "a doubtful text", "switched on", "long audio", "turned off"],
)
def test_a_transcript_says_what_looked_for_speech(
    tiny_run: Path, windows: type[Hasty], duration_s: float, *, vad_filter: bool | None, expected: str | None
) -> None:
    folder = tiny_run / "fp32-stateful"
    options = TranscribeOptions(language="en", without_timestamps=True, vad_filter=vad_filter)
    transcript = transcriber_with(windows(folder), folder).transcribe(tone(duration_s), options)
    assert transcript.voice_activity == expected


def test_transcripts_of_a_batch_say_what_looked_for_speech(tiny_run: Path) -> None:
    folder = tiny_run / "fp32-stateful"
    options = TranscribeOptions(language="en")
    found = transcriber_with(Unsure(folder), folder).transcribe_batch([tone(4.0), tone(4.0)], options)
    assert [each.voice_activity for each in found] == ["loud", "loud"]


def test_without_voice_activity_skipped_speech_is_not_found(tiny_run: Path) -> None:
    folder = tiny_run / "fp32-stateful"
    transcriber = transcriber_with(Terse(folder), folder)
    options = TranscribeOptions(language="en", without_timestamps=True, vad_filter=False)
    (segment,) = transcriber.transcribe(tone(20.0), options).segments
    assert segment.tokens == (5,)


def test_without_voice_activity_a_repeated_text_is_as_often_there_as_its_audio(tiny_run: Path) -> None:
    """Of speech that repeats itself the model makes a loop; the audio says how often it was spoken."""
    folder = tiny_run / "fp32-stateful"
    options = TranscribeOptions(language="en", without_timestamps=True, vad_filter=False)
    spoken = np.concatenate([np.append(tone(5.0), np.full(8_000, 1e-4, np.float32)) for _ in range(5)])
    said = transcriber_with(Looping(folder), folder).transcribe(spoken, options).segments
    assert [segment.tokens for segment in said] == [(5,)] * 5
    assert [segment.start_s for segment in said] == pytest.approx([0.0, 5.5, 11.0, 16.5, 22.0], abs=0.15)
    (loop,) = transcriber_with(Looping(folder), folder).transcribe(tone(27.5), options).segments
    assert loop.tokens == (5,) * 30


def test_the_language_is_detected_where_none_is_given(transcriber: Transcriber) -> None:
    options = TranscribeOptions(temperature=0.0, vad_filter=False)
    transcript = transcriber.transcribe(tone(3.0), options)
    assert transcript.language in transcriber.languages
    assert 0 < transcript.language_probability <= 1


@pytest.mark.parametrize("name", ["fp32-stateful", "int8"])
@pytest.mark.parametrize("duration_s", [3.0, 70.0])
@pytest.mark.parametrize("batch_size", [1, 12])
def test_detecting_the_language_costs_no_pass_of_the_encoder(
    tiny_run: Path, name: str, duration_s: float, batch_size: int
) -> None:
    transcriber = load(tiny_run / name)
    options = TranscribeOptions(temperature=0.0, vad_filter=False, batch_size=batch_size)
    detected = transcriber.transcribe(tone(duration_s), options)
    given = transcriber.transcribe(tone(duration_s), replace(options, language=detected.language))
    assert detected.segments == given.segments != ()
    assert detected.timings.calls[Phase.ENCODER] == given.timings.calls[Phase.ENCODER]
    assert detected.timings.calls[Phase.FEATURES] == given.timings.calls[Phase.FEATURES]
    assert detected.timings.calls[Phase.PREFILL] == given.timings.calls[Phase.PREFILL] + 1


def test_of_attempts_that_are_all_unlikely_the_likeliest_is_taken(transcriber: Transcriber) -> None:
    """A limit of 0 calls every text unlikely, so that all temperatures are tried."""
    doubtful = TranscribeOptions(
        language="en",
        vad_filter=False,
        compression_ratio_threshold=100.0,
        no_speech_threshold=1.0,
        log_prob_threshold=-100.0,
    )
    wave, temperatures = tone(3.0), (0.0, 0.4, 1.0)
    tried = [transcriber.transcribe(wave, replace(doubtful, temperature=t)) for t in temperatures]
    taken = transcriber.transcribe(wave, replace(doubtful, temperature=temperatures, log_prob_threshold=0.0))
    likeliest = max(each.segments[0].mean_log_probability for each in tried)
    assert taken.timings.n_redone == 2
    assert taken.segments[0].mean_log_probability == pytest.approx(likeliest, abs=1e-6)


def test_the_time_of_a_transcription_is_accounted_for(transcriber: Transcriber) -> None:
    timings = transcriber.transcribe(tone(3.0), GREEDY).timings
    assert sum(timings.phase_s.values()) == pytest.approx(timings.total_s, rel=1e-6)
    assert timings.calls[Phase.ENCODER] == timings.calls[Phase.PREFILL] == 1


def test_words_lie_in_their_segments_order(transcriber: Transcriber) -> None:
    options = TranscribeOptions(language="en", temperature=0.0, vad_filter=False, word_timestamps=True)
    transcript = transcriber.transcribe(tone(3.0), options)
    words = [word for segment in transcript.segments for word in segment.words]
    assert "".join("".join(word.text for word in words).split()) == "".join(transcript.text.split())
    assert all(0 <= word.start_s <= word.end_s <= 3.0 and 0 <= word.probability <= 1 for word in words)


@pytest.mark.parametrize("made", ["nothing", "an empty folder", "a damaged manifest"])
def test_a_folder_without_a_variant_is_refused_in_one_line(tmp_path: Path, made: str) -> None:
    folder = tmp_path / "run"
    if made != "nothing":
        folder.mkdir()
    if made == "a damaged manifest":
        (folder / "manifest.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match="run") as raised:
        load(folder)
    assert "\n" not in str(raised.value)


def test_a_variant_without_its_tokenizer_is_refused(tiny_run: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_run / "int8", tmp_path / "int8", ignore=shutil.ignore_patterns("tokenizer.json"))
    with pytest.raises(InputError, match=r"tokenizer\.json"):
        load(tmp_path / "int8")


WITHOUT_TORCH = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "transformers", "optimum", "nncf", "pydantic", "scipy"}:
            raise ImportError(f"{name} is not on a device")

sys.meta_path.insert(0, Refuse())
import numpy as np
from sottovoce.runtime import TranscribeOptions, load
wave = (0.3 * np.sin(np.arange(48_000))).astype(np.float32)
options = TranscribeOptions(language="en", vad_filter=False, word_timestamps=True)
print(len(load(sys.argv[1]).transcribe(wave, options).segments))
"""


@pytest.mark.parametrize("name", ["int8", "fp32-stateful"])
def test_a_device_needs_no_torch_and_no_transformers(tiny_run: Path, name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(tiny_run / name)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 1
