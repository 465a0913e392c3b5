"""Live sessions: nothing that is committed changes, nothing is lost, and cutting the stream otherwise changes nothing."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sottovoce.errors import InputError, SpecError
from sottovoce.runtime.audio.constants import SAMPLE_RATE_HZ
from sottovoce.runtime.audio.decode import Wave
from sottovoce.runtime.decoding.context import DetectedLanguage
from sottovoce.runtime.live.events import Committed, Lagging, LiveEvent, Partial, SpeechStarted, Utterance
from sottovoce.runtime.live.options import CommitPolicy, CommitRule, LiveOptions
from sottovoce.runtime.live.session import LiveSession
from sottovoce.runtime.transcript import Task, Word
from tests.support.live import ENGLISH, Loudness, Script, spoken, words_of

WORD_S, STEP_S = 0.3, 0.4
DEFAULTS = LiveOptions()
Spans = list[tuple[float, float]]


def steady(n_words: int, start_s: float = 1.0) -> Spans:
    """Words that follow each other without a pause that ends an utterance."""
    return [(start_s + STEP_S * number, start_s + STEP_S * number + WORD_S) for number in range(n_words)]


def session_of(
    script: Script, options: LiveOptions = DEFAULTS, language: DetectedLanguage | None = ENGLISH
) -> LiveSession:
    return LiveSession(script, Loudness(), options, language=language, clock=script.clock)


def events_of(session: LiveSession, wave: Wave, size: int = 1600) -> list[LiveEvent]:
    events = [event for i in range(0, len(wave), size) for event in session.feed(wave[i : i + size])]
    return events + session.finish()


def committed(events: Sequence[LiveEvent]) -> list[Word]:
    return [word for event in events if isinstance(event, Committed) for word in event.words]


def texts(words: Sequence[Word]) -> list[str]:
    return [word.text.strip() for word in words]


def utterances(events: Sequence[LiveEvent]) -> list[Utterance]:
    return [event for event in events if isinstance(event, Utterance)]


def numbered(n_words: int) -> list[str]:
    return [f"w{number}" for number in range(n_words)]


def test_words_are_committed_while_speech_goes_on_and_once_each() -> None:
    spans = steady(20)
    events = events_of(session_of(Script(words_of(spans))), spoken(spans, 12.0))
    assert texts(committed(events)) == numbered(20)
    delays_s = [
        event.audio_s - word.end_s for event in events if isinstance(event, Committed) for word in event.words
    ]
    assert min(delays_s) >= 0.0
    assert max(delays_s) < CommitRule(policy=CommitPolicy.ALIGNMENT).guard_s + DEFAULTS.hop_s + 0.2
    (utterance,) = utterances(events)
    assert utterance.segment.text == " ".join(numbered(20))
    assert (utterance.segment.start_s, utterance.segment.end_s) == (spans[0][0], spans[-1][1])


def test_words_are_shown_before_they_are_committed() -> None:
    spans = steady(20)
    events = events_of(session_of(Script(words_of(spans))), spoken(spans, 12.0))
    shown: dict[str, float] = {}
    for event in events:
        if isinstance(event, Partial | Committed):
            for word in event.words:
                shown.setdefault(word.text.strip(), event.audio_s)
    delays_s = [shown[word.text.strip()] - word.end_s for word in committed(events)]
    assert max(delays_s) < DEFAULTS.hop_s + 0.2


def test_an_unlikely_last_word_and_the_mark_after_the_last_one_are_not_shown() -> None:
    spans = steady(20)
    words = [replace(word, text=f"{word.text}.") for word in words_of(spans)]
    for cut_probability, has_guesses in ((0.2, False), (0.85, True)):
        events = events_of(session_of(Script(words, cut_probability=cut_probability)), spoken(spans, 12.0))
        shown = [event.words for event in events if isinstance(event, Partial) and event.words]
        assert any(word.text.endswith("?") for words in shown for word in words) is False
        assert any(words[-1].probability == cut_probability for words in shown) is has_guesses
        assert texts(committed(events)) == [f"w{number}." for number in range(20)]


def test_the_last_words_come_within_the_silence_that_ends_the_utterance() -> None:
    spans = steady(8)
    script = Script(words_of(spans))
    events = events_of(session_of(script), spoken(spans, 8.0))
    last = [event for event in events if isinstance(event, Committed)][-1]
    assert last.audio_s - spans[-1][1] < DEFAULTS.silence_s
    # The text of the pause is the text of the utterance: its end costs no decoding.
    assert script.windows[-1].end_s < utterances(events)[0].audio_s
    assert not any(script.are_last)


def test_an_unlikely_text_is_decoded_again_at_the_end_of_the_utterance() -> None:
    spans = steady(8)
    script = Script(words_of(spans), change=lambda found: replace(found, mean_log_probability=-1.5))
    events = events_of(session_of(script), spoken(spans, 8.0))
    assert script.are_last == [False] * (len(script.windows) - 1) + [True]
    assert texts(committed(events)) == numbered(8)


@given(
    st.lists(st.integers(1, 9000), min_size=1, max_size=40),
    st.lists(st.floats(0.15, 1.4), min_size=1, max_size=14),
    st.floats(0.0, 0.9),
)
@settings(max_examples=40, deadline=None)
def test_cutting_the_stream_otherwise_changes_no_event(
    sizes: list[int], gaps_s: list[float], cost_s: float
) -> None:
    spans, at_s = [], 0.4
    for gap_s in gaps_s:
        spans.append((at_s, at_s + WORD_S))
        at_s += WORD_S + gap_s
    wave = spoken(spans, at_s + 1.0)
    whole = events_of(session_of(Script(words_of(spans), cost_s=cost_s)), wave, len(wave))
    session = session_of(Script(words_of(spans), cost_s=cost_s))
    events: list[LiveEvent] = []
    position, turn = 0, 0
    while position < len(wave):
        size = sizes[turn % len(sizes)]
        events += session.feed(wave[position : position + size])
        position, turn = position + size, turn + 1
    assert events + session.finish() == whole
    assert texts(committed(whole)) == numbered(len(spans))
    times_s = [time_s for word in committed(whole) for time_s in (word.start_s, word.end_s)]
    assert times_s == sorted(times_s)


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_committed_words_stay_whatever_the_next_hypotheses_say(data: st.DataObject) -> None:
    """Hypotheses that change at will: what is committed is the start of all that is committed later."""
    spans = steady(30)

    def change(hypothesis: object) -> object:
        words = tuple(
            replace(
                each, word=replace(each.word, text=data.draw(st.sampled_from((" a", " b", each.word.text))))
            )
            for each in hypothesis.words  # type: ignore[attr-defined]
        )
        flags = {
            name: data.draw(st.sampled_from((False, False, False, True)))
            for name in ("is_no_speech", "has_looped")
        }
        return replace(hypothesis, words=words, **flags)  # type: ignore[type-var]

    script = Script(words_of(spans), change=change)  # type: ignore[arg-type]
    session = session_of(script)
    text, tail = "", ""
    wave = spoken(spans, 15.0)
    for i in [*range(0, len(wave), 3000), None]:
        for event in session.finish() if i is None else session.feed(wave[i : i + 3000]):
            if isinstance(event, Committed):
                text += "".join(word.text for word in event.words)
                assert event.words
            if isinstance(event, Partial):
                tail = "".join(word.text for word in event.words)
            if isinstance(event, Utterance):
                assert text.endswith(event.segment.text)
    assert tail == ""


def test_finish_can_be_called_twice_and_ends_the_session() -> None:
    spans = steady(3)
    session = session_of(Script(words_of(spans)))
    session.feed(spoken(spans, 2.2))
    assert texts(committed(session.finish())) == ["w1", "w2"] or session.finish() == []
    assert session.finish() == []
    with pytest.raises(SpecError, match="finished"):
        session.feed(np.zeros(100, np.float32))


def test_speech_at_the_end_of_the_stream_is_committed_by_finish() -> None:
    spans = steady(6)
    events = events_of(session_of(Script(words_of(spans))), spoken(spans, spans[-1][1]))
    assert texts(committed(events)) == numbered(6)


@pytest.mark.parametrize("seconds", [0, 30 * 60])
def test_silence_has_no_events_and_is_not_decoded(seconds: int) -> None:
    script = Script([])
    assert events_of(session_of(script), np.zeros(seconds * SAMPLE_RATE_HZ, np.float32), 160000) == []
    assert script.windows == []


@pytest.mark.parametrize("language", [ENGLISH, None])
def test_warming_up_decodes_and_changes_no_event(language: DetectedLanguage | None) -> None:
    spans = steady(6)
    script = Script(words_of(spans))
    session = session_of(script, language=language)
    session.warm_up()
    assert len(script.windows) > 1
    warm = events_of(session, spoken(spans, 6.0))
    assert warm == events_of(session_of(Script(words_of(spans)), language=language), spoken(spans, 6.0))


def test_a_short_unsure_noise_is_not_decoded() -> None:
    script = Script([])
    wave = spoken([(2.0, 2.4), (5.0, 5.5)], 8.0, probability=0.8)
    assert events_of(session_of(script), wave) == []
    assert script.windows == []


def test_a_word_of_a_third_of_a_second_is_committed() -> None:
    spans = [(3.0, 3.3)]
    assert texts(committed(events_of(session_of(Script(words_of(spans))), spoken(spans, 5.0)))) == ["w0"]


def test_audio_before_speech_is_decoded_with_it() -> None:
    spans = steady(3, start_s=4.0)
    script = Script(words_of(spans))
    events = events_of(session_of(script), spoken(spans, 7.0))
    assert script.windows[0].start_s == pytest.approx(4.0 - DEFAULTS.pre_roll_s, abs=0.07)
    started = [event for event in events if isinstance(event, SpeechStarted)]
    assert [event.at_s for event in started] == [script.windows[0].start_s]


def test_a_pause_ends_an_utterance() -> None:
    spans = [*steady(5), *steady(5, start_s=5.0)]
    events = events_of(session_of(Script(words_of(spans))), spoken(spans, 9.0))
    assert [each.segment.text for each in utterances(events)] == [
        " ".join(numbered(5)),
        " ".join(numbered(10)[5:]),
    ]


def test_speech_without_a_pause_is_cut_and_keeps_all_words() -> None:
    spans = steady(120)
    script = Script(words_of(spans))
    events = events_of(session_of(script), spoken(spans, spans[-1][1] + 1.0))
    assert texts(committed(events)) == numbered(120)
    assert max(window.end_s - window.start_s for window in script.windows) <= DEFAULTS.buffer_s + 0.1
    assert len(utterances(events)) > 1
    assert " ".join(each.segment.text for each in utterances(events)) == " ".join(numbered(120))


def test_speech_without_a_pause_is_cut_where_the_gap_is_longest() -> None:
    spans = [*steady(30), *steady(40, start_s=1.0 + 30 * STEP_S + 0.25)]
    events = events_of(session_of(Script(words_of(spans))), spoken(spans, spans[-1][1] + 1.0))
    assert utterances(events)[0].segment.text == " ".join(numbered(30))


def test_sound_without_words_does_not_grow_the_buffer() -> None:
    script = Script([])
    wave = spoken([(1.0, 70.0)], 72.0)
    events = events_of(session_of(script), wave)
    assert committed(events) == []
    assert max(window.end_s - window.start_s for window in script.windows) <= DEFAULTS.buffer_s + 0.1


def test_hypotheses_that_loop_are_not_shown() -> None:
    spans = steady(10)
    script = Script(words_of(spans), change=lambda hypothesis: replace(hypothesis, has_looped=True))
    assert [
        event
        for event in events_of(session_of(script), spoken(spans, 7.0))
        if isinstance(event, Partial | Committed)
    ] == []


def test_text_of_what_the_model_takes_for_silence_is_withdrawn() -> None:
    spans = [(1.0, 2.6)]
    script = Script(words_of(spans), cut_probability=0.85)
    script.change = lambda hypothesis: replace(hypothesis, is_no_speech=script.windows[-1].end_s > 2.5)
    events = events_of(session_of(script), spoken(spans, 5.0))
    shown = [event for event in events if isinstance(event, Partial)]
    assert shown[0].words
    assert shown[-1].words == ()
    assert committed(events) == []
    assert utterances(events) == []


@pytest.mark.parametrize("factor", [5, 20])
def test_a_slow_machine_loses_no_words_and_waits_longer_between_hypotheses(factor: int) -> None:
    spans = steady(60)
    wave = spoken(spans, spans[-1][1] + 1.0)
    fast, slow = Script(words_of(spans), cost_s=0.01), Script(words_of(spans), cost_s=0.01 * factor)
    events_of(session_of(fast), wave)
    events = events_of(session_of(slow), wave)
    assert texts(committed(events)) == numbered(60)
    assert len(slow.windows) <= len(fast.windows)
    assert not any(isinstance(event, Lagging) for event in events)
    busy_s = sum(window.end_s - window.start_s for window in slow.windows) * slow.cost_s
    assert busy_s <= len(wave) / SAMPLE_RATE_HZ + DEFAULTS.buffer_s * slow.cost_s


def test_a_machine_that_cannot_keep_up_says_so_and_loses_nothing() -> None:
    spans = steady(60)
    script = Script(words_of(spans), cost_s=1.5)
    events = events_of(session_of(script), spoken(spans, spans[-1][1] + 1.0))
    assert texts(committed(events)) == numbered(60)
    backlogs = [event.backlog_s for event in events if isinstance(event, Lagging)]
    assert backlogs
    assert min(backlogs) > 5.0


def test_a_word_that_the_model_is_not_sure_of_waits_for_a_second_hypothesis() -> None:
    spans = steady(12)
    options = LiveOptions(guard_s=0.1)
    sure = events_of(session_of(Script(words_of(spans)), options), spoken(spans, 9.0))
    doubtful = [replace(word, probability=0.3) for word in words_of(spans)]
    unsure = events_of(session_of(Script(doubtful), options), spoken(spans, 9.0))
    at = [
        next(
            event.audio_s for event in events if isinstance(event, Committed) and event.words[0].text == " w0"
        )
        for events in (sure, unsure)
    ]
    assert at[1] == pytest.approx(at[0] + 0.512)


@pytest.mark.parametrize(
    "options", [LiveOptions(policy=CommitPolicy.AGREEMENT), LiveOptions(task=Task.TRANSLATE)]
)
def test_by_agreement_a_word_is_committed_when_two_hypotheses_have_it(options: LiveOptions) -> None:
    spans = steady(20)
    events = events_of(session_of(Script(words_of(spans)), options), spoken(spans, 12.0))
    assert texts(committed(events)) == numbered(20)
    shown: dict[str, float] = {}
    for event in events:
        if isinstance(event, Partial):
            for word in event.words:
                shown.setdefault(word.text.rstrip("?"), event.audio_s)
        if isinstance(event, Committed):
            assert all(shown[word.text] < event.audio_s for word in event.words)


def test_a_model_that_aligns_badly_commits_by_agreement() -> None:
    spans = steady(20)
    wave = spoken(spans, 12.0)
    found = [
        events_of(session_of(Script(words_of(spans), aligns_well=aligns_well), options), wave)
        for aligns_well, options in ((False, DEFAULTS), (True, LiveOptions(policy=CommitPolicy.AGREEMENT)))
    ]
    assert found[0] == found[1]
    assert found[0] != events_of(session_of(Script(words_of(spans))), wave)


def test_the_rule_that_was_measured_for_a_variant_counts_unless_options_name_one() -> None:
    spans = steady(20)
    wave = spoken(spans, 12.0)

    def events(options: LiveOptions, measured: CommitRule | None) -> list[LiveEvent]:
        script = Script(words_of(spans))
        session = LiveSession(
            script, Loudness(), options, language=ENGLISH, measured=measured, clock=script.clock
        )
        return events_of(session, wave)

    agreement, careful = (
        CommitRule(policy=CommitPolicy.AGREEMENT),
        CommitRule(policy=CommitPolicy.ALIGNMENT, guard_s=0.9),
    )
    by_agreement = events(LiveOptions(policy=CommitPolicy.AGREEMENT), None)
    by_alignment = events(LiveOptions(policy=CommitPolicy.ALIGNMENT), None)
    assert by_agreement != by_alignment
    assert events(DEFAULTS, agreement) == by_agreement
    assert events(LiveOptions(policy=CommitPolicy.ALIGNMENT), agreement) == by_alignment
    assert events(DEFAULTS, careful) == events(LiveOptions(guard_s=0.9), None) != by_alignment
    assert events(LiveOptions(guard_s=0.4), careful) == by_alignment
    translated = events(LiveOptions(task=Task.TRANSLATE), careful)
    assert translated == events(LiveOptions(task=Task.TRANSLATE), None)


def test_each_utterance_has_its_language_until_a_word_of_it_is_committed() -> None:
    spans = [*steady(10), *steady(10, start_s=7.0)]
    script = Script(words_of(spans), language=DetectedLanguage(language="de", probability=0.9))
    session = session_of(script, language=None)
    wave = spoken(spans, 13.0)
    events = session.feed(wave[: 6 * SAMPLE_RATE_HZ])
    script.language = DetectedLanguage(language="fr", probability=0.95)
    events += session.feed(wave[6 * SAMPLE_RATE_HZ :]) + session.finish()
    assert [(each.language, each.language_probability) for each in utterances(events)] == [
        ("de", 0.9),
        ("fr", 0.95),
    ]


def test_a_short_utterance_of_an_uncertain_language_is_in_that_of_the_one_before() -> None:
    spans = [*steady(10), (8.0, 8.4)]
    script = Script(words_of(spans), language=DetectedLanguage(language="de", probability=0.9))
    session = session_of(script, language=None)
    wave = spoken(spans, 10.0)
    events = session.feed(wave[: 7 * SAMPLE_RATE_HZ])
    script.language = DetectedLanguage(language="fr", probability=0.4)
    events += session.feed(wave[7 * SAMPLE_RATE_HZ :]) + session.finish()
    assert [each.language for each in utterances(events)] == ["de", "de"]


@pytest.mark.parametrize(
    "samples", [np.zeros((2, 100), np.float32), np.full(2048, np.nan, np.float32), np.zeros(100, np.int16)]
)
def test_samples_that_are_no_wave_are_refused(samples: Wave) -> None:
    with pytest.raises(InputError):
        session_of(Script([])).feed(samples)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hop_s": -1.0}, "hop_s"),
        ({"guard_s": float("nan")}, "guard_s"),
        ({"min_probability": 1.5}, "min_probability"),
        ({"buffer_s": 31.0}, "buffer_s"),
        ({"language": "klingon"}, "klingon"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        LiveOptions(**options)  # type: ignore[arg-type]
