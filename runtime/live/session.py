"""A live transcription: audio in, events out, without a thread or any input or output of its own.

Silero's network opens and closes utterances. Every half second the whole utterance is encoded and decoded again, behind
the words that are committed; its words are aligned, and those that are final are committed. Decisions fall at the ends
of blocks of audio only: the same samples give the same events, however they are cut.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from sottovoce.errors import SpecError
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import Wave
from sottovoce.runtime.audio.stream import check_wave
from sottovoce.runtime.decoding.context import DetectedLanguage
from sottovoce.runtime.decoding.tokenizer import Tokens
from sottovoce.runtime.live.commit import n_before_cut, n_to_commit, shown_words
from sottovoce.runtime.live.endpoint import Endpointer
from sottovoce.runtime.live.events import Committed, Lagging, LiveEvent, Partial, SpeechStarted, Utterance
from sottovoce.runtime.live.hypothesis import Hypothesis, Recognizer, TokenWord
from sottovoce.runtime.live.options import CommitRule, LiveOptions, commit_rule
from sottovoce.runtime.live.recognizer import WhisperRecognizer
from sottovoce.runtime.session import Model
from sottovoce.runtime.transcript import Segment, Word
from sottovoce.runtime.vad.frames import FRAME_S, FRAME_SAMPLES, VoiceActivity
from sottovoce.runtime.vad.segmenter import AudioWindow
from sottovoce.runtime.vad.silero import SileroVoiceActivity
from sottovoce.runtime.vad.speech_spans import VadOptions

BLOCK_FRAMES = 2
BLOCK_SAMPLES = BLOCK_FRAMES * FRAME_SAMPLES
"""Voice activity of two frames costs as much as of one."""

PAUSE_S = 0.25
"""So long a silence may be the end of the utterance: its text is prepared, so that it is ready when the silence is long
enough."""

HOP_PER_COST = 1.5
"""The next hypothesis waits so many times as long as the last one took: ends of utterances need time too, and other sessions
of the same cores, whose wait is part of the cost."""

MAX_BACKLOG_S = 5.0
"""More is reported."""

LEAST_DETECTION_S = 2.0
SURE_LANGUAGE = 0.8
"""A shorter utterance is in the language of the one before, unless the model is so sure of another."""

WARM_UP_S = (1.0, 2.0, 3.0, 4.0)
"""Lengths of audio whose first decoding takes several times as long as the second; of longer ones it takes little more."""

FORCED_BEFORE_S = 1.0
"""Words that end so long before the audio are committed where an utterance must be cut and has no other."""

UNLIKELY = -1.0
"""Mean log-probability below which the last text of an utterance is decoded again (`logprob_threshold` of openai/whisper)."""


@dataclass(slots=True)
class _Utterance:
    """Speech that goes on: its audio from `start` on, and its words."""

    start: int
    blocks: list[Wave]
    language: DetectedLanguage | None
    committed: list[TokenWord] = field(default_factory=list)
    upcoming: tuple[TokenWord, ...] = ()
    last: Hypothesis | None = None
    decoded_to: int = 0
    shown: tuple[Word, ...] = ()
    is_announced: bool = False

    @property
    def tokens(self) -> Tokens:
        """Tokens of the committed words."""
        return tuple(token for word in self.committed for token in word.tokens)

    def window(self) -> AudioWindow:
        """Return the audio."""
        self.blocks = [np.concatenate(self.blocks)]
        return AudioWindow(start_s=self.start / SAMPLE_RATE_HZ, wave=self.blocks[0])

    def drop_before(self, sample: int) -> None:
        """Drop audio before a sample of the stream."""
        wave = self.window().wave
        self.blocks = [wave[sample - self.start :].copy()]
        self.start = sample


class LiveSession:
    """Transcribes one stream while it goes on; for one thread at a time."""

    def __init__(
        self,
        recognizer: Recognizer,
        activity: VoiceActivity,
        options: LiveOptions,
        *,
        language: DetectedLanguage | None = None,
        measured: CommitRule | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Start a stream.

        Args:
            recognizer: decodes utterances.
            activity: finds speech; used for this stream only.
            options: delays and thresholds.
            language: of all utterances; None detects it.
            measured: when words are final, as it was measured for the variant.
            clock: seconds, read before and after each decoding only: the next one waits as long as it took.
        """
        self._recognizer = recognizer
        self._activity = activity
        self._options = options
        self._language = language
        self._clock = clock
        self._rule = commit_rule(options, measured, aligns_well=recognizer.aligns_well)
        self._endpoint = Endpointer(VadOptions(), options.silence_s)
        self._waiting = np.zeros(0, np.float32)
        self._pre_roll = np.zeros(0, np.float32)
        self._utterance: _Utterance | None = None
        self._recent_language: DetectedLanguage | None = None
        self._position = 0
        self._next_pass = 0
        self._busy_until_s = 0.0
        self._last_cost = 0
        self._last_end_s = 0.0
        self._is_finished = False

    @property
    def audio_s(self) -> float:
        """Seconds of the stream that are processed."""
        return self._position / SAMPLE_RATE_HZ

    def warm_up(self) -> None:
        """Decode silence, so that the first words do not wait for kernels, which are made for each length of audio."""
        for length_s in WARM_UP_S:
            silence = np.zeros(round(length_s * SAMPLE_RATE_HZ), np.float32)
            window = AudioWindow(start_s=0.0, wave=silence)
            language = self._language
            if language is None:
                language, window = self._recognizer.detect_language(window)
            self._recognizer.recognize(window, (), language, is_last=False)

    def feed(self, samples: Wave) -> list[LiveEvent]:
        """Take the next samples of the stream; return what they settle.

        Args:
            samples: float32, shape (n_samples,), 16 kHz, of any length.

        Raises:
            InputError: the samples are of another shape or type, or not finite.
            SpecError: the session is finished.
        """
        if self._is_finished:
            raise SpecError("the live session is finished; open another one")
        self._waiting = np.concatenate([self._waiting, check_wave(samples, "live audio")])
        events: list[LiveEvent] = []
        n_blocks = len(self._waiting) // BLOCK_SAMPLES
        for block in np.split(self._waiting[: n_blocks * BLOCK_SAMPLES], max(1, n_blocks)):
            if block.size:
                events += self._advance(block)
        self._waiting = self._waiting[n_blocks * BLOCK_SAMPLES :].copy()
        return events

    def finish(self) -> list[LiveEvent]:
        """End the stream; return the last events. Later calls return none."""
        if self._is_finished:
            return []
        n_left = len(self._waiting)
        events = self.feed(np.zeros(-n_left % BLOCK_SAMPLES, np.float32)) if n_left else []
        self._is_finished = True
        if self._utterance is not None:
            events += self._close(self._utterance)
        return events

    def _advance(self, block: Wave) -> Iterator[LiveEvent]:
        probabilities = self._activity.probabilities(block)
        self._position += len(block)
        self._endpoint.follow(probabilities)
        utterance = self._utterance
        if utterance is not None:
            utterance.blocks.append(block)
        elif self._endpoint.is_open:
            utterance = self._open(block)
        self._remember(block)
        if utterance is None:
            return
        if not self._endpoint.is_clear:
            if self._endpoint.has_ended:
                self._end()
            return
        if not utterance.is_announced:
            utterance.is_announced = True
            at_s = utterance.start / SAMPLE_RATE_HZ
            yield SpeechStarted(at_s=at_s, audio_s=self.audio_s)
        if self._endpoint.has_ended:
            yield from self._close(utterance)
        elif self._position - utterance.start >= self._buffer:
            yield from self._cut(utterance)
        elif self._is_due(utterance):
            yield from self._decode(utterance)

    def _remember(self, block: Wave) -> None:
        kept = round(self._options.pre_roll_s * SAMPLE_RATE_HZ)
        recent = np.concatenate([self._pre_roll, block])
        self._pre_roll = recent[max(0, len(recent) - kept) :]

    def _open(self, block: Wave) -> _Utterance:
        start = self._position - len(block) - len(self._pre_roll)
        utterance = _Utterance(start, [self._pre_roll, block], self._language, decoded_to=start)
        self._next_pass = self._position + self._hop
        self._utterance = utterance
        return utterance

    def _end(self) -> None:
        self._utterance = None
        self._endpoint.close()

    @property
    def _hop(self) -> int:
        return round(self._options.hop_s * SAMPLE_RATE_HZ)

    @property
    def _buffer(self) -> int:
        return round(self._options.buffer_s * SAMPLE_RATE_HZ)

    @property
    def _speech_end(self) -> int:
        return self._position - self._endpoint.n_silent * FRAME_SAMPLES

    def _is_due(self, utterance: _Utterance) -> bool:
        if self._endpoint.silent_s >= PAUSE_S:
            return not self._has_decoded_pause(utterance)
        until_cut = self._buffer - (self._position - utterance.start)
        return self._position >= self._next_pass and until_cut > self._last_cost

    def _has_decoded_pause(self, utterance: _Utterance) -> bool:
        return utterance.decoded_to - self._speech_end >= (PAUSE_S - 2 * FRAME_S) * SAMPLE_RATE_HZ

    def _decode(self, utterance: _Utterance) -> Iterator[LiveEvent]:
        """Decode the utterance so far, commit what is final, and show the rest."""
        hypothesis, lag = self._recognize(utterance, is_last=False)
        yield from lag
        if not hypothesis.is_usable:
            return
        is_pause = self._has_decoded_pause(utterance)
        ahead_s = self._rule.guard_s if is_pause else 0.0
        words = hypothesis.words
        n = n_to_commit(words, utterance.upcoming, self.audio_s + ahead_s, self._options, self._rule)
        yield from self._commit(utterance, words[:n])
        upcoming = words[n:]
        utterance.upcoming = upcoming
        yield from self._show(
            utterance, _plain(upcoming) if is_pause else shown_words(upcoming, self._options)
        )

    def _close(self, utterance: _Utterance) -> Iterator[LiveEvent]:
        """Commit all words of the utterance."""
        last = utterance.last
        is_ready = (
            last is not None
            and last.is_usable
            and last.mean_log_probability >= UNLIKELY
            and self._has_decoded_pause(utterance)
        )
        words = utterance.upcoming
        if not is_ready:
            hypothesis, lag = self._recognize(utterance, is_last=True)
            yield from lag
            if hypothesis.is_usable or hypothesis.is_no_speech:
                words = hypothesis.words if hypothesis.is_usable else ()
        yield from self._commit(utterance, words)
        yield from self._show(utterance, ())
        yield from self._segment(utterance, utterance.committed)
        self._end()

    def _cut(self, utterance: _Utterance) -> Iterator[LiveEvent]:
        """Decode once more, then drop the audio before the longest gap between committed words."""
        yield from self._decode(utterance)
        end_s = self.audio_s
        start_s = utterance.start / SAMPLE_RATE_HZ
        if not n_before_cut(utterance.committed, start_s, end_s):
            certain = [word for word in utterance.upcoming if word.word.end_s <= end_s - FORCED_BEFORE_S]
            utterance.upcoming = utterance.upcoming[len(certain) :]
            yield from self._commit(utterance, tuple(certain))
            yield from self._show(utterance, shown_words(utterance.upcoming, self._options))
        n = n_before_cut(utterance.committed, start_s, end_s)
        before, after = utterance.committed[:n], utterance.committed[n:]
        yield from self._segment(utterance, before)
        following = [*after, *utterance.upcoming]
        utterance.committed = after
        cut_s = end_s - self._options.pre_roll_s
        if before:
            next_s = following[0].word.start_s if following else end_s
            cut_s = (before[-1].word.end_s + max(next_s, before[-1].word.end_s)) / 2
        utterance.drop_before(min(self._position, max(utterance.start, round(cut_s * SAMPLE_RATE_HZ))))

    def _recognize(self, utterance: _Utterance, *, is_last: bool) -> tuple[Hypothesis, list[LiveEvent]]:
        """Decode the audio of the utterance, and count what it costs."""
        started = self._clock()
        window = utterance.window()
        language, window = self._language_of(utterance, window)
        hypothesis = self._recognizer.recognize(window, utterance.tokens, language, is_last=is_last)
        cost_s = self._clock() - started
        self._last_cost = round(cost_s * SAMPLE_RATE_HZ)
        hypothesis = replace(hypothesis, words=self._in_order(hypothesis.words))
        utterance.last = hypothesis
        utterance.decoded_to = self._position
        self._busy_until_s = max(self._busy_until_s, self.audio_s) + cost_s
        backlog_s = self._busy_until_s - self.audio_s
        self._next_pass = self._position + max(self._hop, round(HOP_PER_COST * backlog_s * SAMPLE_RATE_HZ))
        lagging = Lagging(backlog_s=backlog_s, audio_s=self.audio_s)
        return hypothesis, [lagging] if backlog_s > MAX_BACKLOG_S else []

    def _language_of(
        self, utterance: _Utterance, window: AudioWindow
    ) -> tuple[DetectedLanguage, AudioWindow]:
        """Return the language, detected anew until the first word is committed."""
        if utterance.language is not None and (self._language is not None or utterance.committed):
            return utterance.language, window
        found, window = self._recognizer.detect_language(window)
        recent = self._recent_language
        is_short = window.end_s - window.start_s < LEAST_DETECTION_S
        if recent is not None and is_short and found.probability < SURE_LANGUAGE:
            found = recent
        utterance.language = found
        return found, window

    def _in_order(self, words: tuple[TokenWord, ...]) -> tuple[TokenWord, ...]:
        """Return words none of which starts before the committed ones end."""
        ordered: list[TokenWord] = []
        end_s = self._last_end_s
        for each in words:
            start_s = max(each.word.start_s, end_s)
            end_s = max(each.word.end_s, start_s)
            ordered.append(replace(each, word=replace(each.word, start_s=start_s, end_s=end_s)))
        return tuple(ordered)

    def _commit(self, utterance: _Utterance, words: tuple[TokenWord, ...]) -> Iterator[LiveEvent]:
        if not words:
            return
        utterance.committed += words
        self._last_end_s = words[-1].word.end_s
        self._recent_language = utterance.language
        yield Committed(words=_plain(words), audio_s=self.audio_s)

    def _show(self, utterance: _Utterance, words: tuple[Word, ...]) -> Iterator[LiveEvent]:
        if words != utterance.shown:
            utterance.shown = words
            yield Partial(words=words, audio_s=self.audio_s)

    def _segment(self, utterance: _Utterance, words: list[TokenWord]) -> Iterator[LiveEvent]:
        language, last = utterance.language, utterance.last
        if not words or language is None or last is None:
            return
        segment = Segment(
            start_s=words[0].word.start_s,
            end_s=words[-1].word.end_s,
            text="".join(word.word.text for word in words).strip(),
            tokens=tuple(token for word in words for token in word.tokens),
            mean_log_probability=last.mean_log_probability,
            no_speech_probability=last.no_speech_probability,
            compression_ratio=last.compression_ratio,
            words=_plain(words),
        )
        yield Utterance(
            segment=segment,
            language=language.language,
            language_probability=language.probability,
            audio_s=self.audio_s,
        )


def _plain(words: tuple[TokenWord, ...] | list[TokenWord]) -> tuple[Word, ...]:
    return tuple(each.word for each in words)


def open_session(
    model: Model, options: LiveOptions, *, clock: Callable[[], float] = time.perf_counter
) -> LiveSession:
    """Open a live session on a model; `clock` is that of the session.

    Raises:
        SpecError: the model has no such language or task.
    """
    language, task = model.tokenizer.defaults.fill(options.language, options.task)
    options = replace(options, language=language, task=task)
    recognizer = WhisperRecognizer(model.session(), options)
    activity = SileroVoiceActivity.load()
    return LiveSession(
        recognizer, activity, options, language=recognizer.language, measured=model.commit_rule, clock=clock
    )
