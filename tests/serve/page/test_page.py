"""The page in a real browser, against a real server of a tiny model; what it does with a transcript, with one made here."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sottovoce.speech.synthetic import demo_speech
from tests.serve.page.conftest import Opened, Visit
from tests.support.browser import PHONE, needs_chromium
from tests.support.server import RunningServer

pytestmark = needs_chromium

SPEECH = demo_speech().parent / "clips" / "e02.flac"
TRANSCRIPTIONS = "**/v1/audio/transcriptions"
TRANSLATIONS = "**/v1/audio/translations"

Answer = dict[str, Any]
Fulfil = Callable[[Any], None]


def made(*sentences: str, doubtful: tuple[str, ...] = (), language: str = "english") -> Answer:
    """Return an answer of the server: a sentence each 3 s, words each 0.2 s."""
    segments, words = [], []
    for number, sentence in enumerate(sentences):
        start = 3.0 * number
        spoken = sentence.split()
        segments.append({"id": number, "start": start, "end": start + 0.2 * len(spoken), "text": sentence})
        for index, word in enumerate(spoken):
            times = {"start": round(start + 0.2 * index, 3), "end": round(start + 0.2 * index + 0.2, 3)}
            words.append({"word": word, "probability": 0.3 if word in doubtful else 0.95, **times})
    text = " ".join(sentences)
    duration = 3.0 * len(sentences)
    return {
        "task": "transcribe",
        "language": language,
        "duration": duration,
        "text": text,
        "segments": segments,
        "words": words,
    }


MEETING = made(
    "Let us start with the budget.",
    "The offise in Scheveningen has the plan.",
    "Most of the delay is in Rotterdam.",
    doubtful=("offise", "Scheveningen"),
)


def gives(answer: Answer) -> Fulfil:
    return lambda route: route.fulfill(status=200, content_type="application/json", body=json.dumps(answer))


def refuses(status: int, message: str, **headers: str) -> Fulfil:
    body = json.dumps({"error": {"message": message, "type": "x", "param": None, "code": None}})
    return lambda route: route.fulfill(
        status=status, content_type="application/json", body=body, headers=headers
    )


def in_turn(*fulfils: Fulfil) -> Fulfil:
    upcoming = iter(fulfils)

    def fulfil(route: Any) -> None:
        next(upcoming)(route)

    return fulfil


def add(opened: Opened, *files: Path | dict[str, Any]) -> None:
    opened.page.set_input_files("#file-input", list(files))


def open_meeting(visit: Visit, **options: Any) -> Opened:
    opened = visit(answers={TRANSCRIPTIONS: gives(MEETING)}, **options)
    add(opened, SPEECH)
    opened.page.wait_for_selector("text=Scheveningen")
    return opened


def status(page: Any, text: str) -> None:
    page.wait_for_selector(f"#status:text-is('{text}')", state="attached")


def words(page: Any) -> list[str]:
    return list(page.locator(".words").all_inner_texts())


def highlighted(page: Any, name: str) -> list[str]:
    return list(
        page.evaluate(
            "(name) => [...CSS.highlights.get(name)].map((r) => r.startContainer.data.slice(r.startOffset, r.endOffset))",
            name,
        )
    )


def export(page: Any, label: str) -> tuple[str, str]:
    """Save a file; return its name and text."""
    page.locator("#export summary").click()
    with page.expect_download() as saved:
        page.get_by_role("button", name=label, exact=True).click()
    return saved.value.suggested_filename, Path(saved.value.path()).read_text(encoding="utf-8")


# The whole way, with the server's own answers


def test_a_file_becomes_a_transcript_and_subtitles(visit: Visit, pair: RunningServer) -> None:
    opened = visit()
    page = opened.page
    add(opened, SPEECH)
    page.wait_for_selector(".words >> text=rain")
    assert "0:03" in page.inner_text("#job-facts")
    page.wait_for_selector(".state >> text=/^done in/")
    name, text = export(page, "Text (.txt)")
    shown = re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", " ".join(words(page)))
    assert (name, text.split()) == ("e02.txt", shown.split())
    name, subtitles = export(page, "Subtitles (.srt)")
    assert name == "e02.srt"
    assert subtitles.startswith("1\n00:00:0")
    assert {url.split("/")[2] for url in opened.requests if not url.startswith("blob:")} == {
        pair.url.split("/")[2]
    }
    assert opened.messages == []
    assert page.evaluate("violations") == []


def test_a_file_that_is_no_audio_says_so(visit: Visit) -> None:
    opened = visit()
    add(opened, {"name": "scan.pdf", "mimeType": "application/pdf", "buffer": b"%PDF-1.4 nothing"})
    opened.page.wait_for_selector(".state[data-kind=bad]")
    assert "is not audio" in opened.page.inner_text(".state")


def test_two_variants_are_compared(visit: Visit) -> None:
    page = visit("compare").page
    page.wait_for_selector("#compare-left option", state="attached")
    assert (
        page.locator("#compare-left option").all_inner_texts()
        == page.locator("#model option").all_inner_texts()
    )
    page.set_input_files("#compare-file", SPEECH)
    page.get_by_role("button", name="Compare", exact=True).click()
    page.wait_for_selector("#compare-result")
    left, right = page.locator(".titles h2").all_inner_texts()
    assert left != right
    differing, total = map(int, page.locator("#figures dd").first.inner_text().split(" of "))
    assert 0 <= differing <= total > 0


# Without the server's own answers


def test_differing_words_are_marked_and_stepped_through(visit: Visit) -> None:
    other = made(
        "Let us start with a budget.",
        "The office in Scheveningen has the plan.",
        "Most of the delay is in Rotterdam.",
    )
    page = visit("compare", answers={TRANSCRIPTIONS: in_turn(gives(MEETING), gives(other))}).page
    page.set_input_files("#compare-file", SPEECH)
    page.get_by_role("button", name="Compare", exact=True).click()
    page.wait_for_selector("#compare-result")
    assert page.locator("#figures dd").first.inner_text() == "2 of 20"
    assert page.locator(".left mark").all_inner_texts() == ["the", "offise"]
    assert page.locator(".right mark").all_inner_texts() == ["a", "office"]
    page.get_by_role("button", name="next difference").click()
    status(page, "difference 1 of 2: the or a")


def test_doubtful_words_are_stepped_through_confirmed_and_announced(visit: Visit) -> None:
    page = open_meeting(visit).page
    assert highlighted(page, "doubtful") == ["offise", "Scheveningen"]
    page.keyboard.press("n")
    status(page, "offise, 30 % sure, 1 of 2, at 0:03")
    assert highlighted(page, "current") == ["offise"]
    page.keyboard.press("a")
    status(page, "Scheveningen, 30 % sure, 1 of 1, at 0:03")
    assert highlighted(page, "doubtful") == ["Scheveningen"]
    page.keyboard.press("Control+z")
    assert highlighted(page, "doubtful") == ["offise", "Scheveningen"]


def test_search_counts_steps_and_replaces(visit: Visit) -> None:
    page = open_meeting(visit).page
    page.keyboard.press("/")
    page.keyboard.type("the")
    assert page.inner_text("#found") == "1 of 4"
    page.keyboard.press("Enter")
    assert page.inner_text("#found") == "2 of 4"
    page.keyboard.press("Shift+Enter")
    page.keyboard.press("Shift+Enter")
    assert page.inner_text("#found") == "4 of 4"
    page.get_by_label("Replace with").fill("our")
    page.get_by_role("button", name="Replace", exact=True).click()
    assert page.inner_text("#found") == "1 of 3"
    page.get_by_role("button", name="Replace all").click()
    assert "Let us start with our budget." in words(page)[0]
    assert page.inner_text("#found") == "none"
    _, written = export(page, "Words and times (.json)")
    timed = {word["text"]: word["start_s"] for word in json.loads(written)["segments"][0]["words"]}
    assert timed["budget."] == 1.0
    page.keyboard.press("Control+z")
    assert "Let us start with the budget." in words(page)[0]


def test_an_edit_keeps_the_times_and_survives_the_tab(visit: Visit) -> None:
    opened = open_meeting(visit)
    page = opened.page
    page.keyboard.press("n")
    page.keyboard.press("e")
    page.keyboard.type("office")
    page.keyboard.press("Enter")
    assert "The office in Scheveningen" in " ".join(words(page))
    page.wait_for_timeout(2000)
    page.close(run_before_unload=False)
    again = visit(context=page.context, answers={TRANSCRIPTIONS: refuses(500, "not again")}).page
    again.get_by_role("link", name=SPEECH.name).click()
    again.wait_for_selector("text=The office in Scheveningen")
    _, written = export(again, "Words and times (.json)")
    [word] = [
        word
        for segment in json.loads(written)["segments"]
        for word in segment["words"]
        if word["text"] == "office"
    ]
    assert word == {"text": "office", "start_s": 3.2, "end_s": 3.4, "probability": None, "edited": True}
    again.locator("#play:not([disabled])").wait_for()


def test_the_word_that_plays_is_lit_and_a_click_plays_from_a_word(visit: Visit) -> None:
    page = open_meeting(visit).page
    page.get_by_label("Speed").select_option("0.5")
    place = page.evaluate(
        """() => { const range = document.createRange(); const node = document.querySelector(".words").firstChild;
        const at = node.data.indexOf("budget"); range.setStart(node, at); range.setEnd(node, at + 6);
        const box = range.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; }"""
    )
    page.mouse.click(*place)
    page.get_by_role("button", name="Pause").wait_for()
    assert page.evaluate("document.getElementById('audio').playbackRate") == 0.5
    assert highlighted(page, "playing") == ["budget."]
    page.keyboard.press("k")
    page.get_by_role("button", name="Play").wait_for()
    assert 1.0 <= page.evaluate("document.getElementById('audio').currentTime") < 2.0
    page.keyboard.press("j")
    page.wait_for_selector("#time:text-is('0:00')")
    assert highlighted(page, "playing") == ["Let"]


def test_the_waveform_is_drawn_and_moved_with_the_keys(visit: Visit) -> None:
    page = open_meeting(visit).page
    page.locator("#waveform").focus()
    page.keyboard.press("End")
    page.wait_for_selector("#time:text-is('0:03')")
    page.wait_for_timeout(500)
    painted = page.evaluate(
        """() => { const { width, height } = document.getElementById("waveform");
        const data = document.getElementById("waveform").getContext("2d").getImageData(0, 0, width, height).data;
        const rows = Array.from({ length: height }, (_, y) => y);
        return rows.filter((y) => data.subarray(4 * y * width, 4 * (y + 1) * width).some((part) => part > 0)).length / height; }"""
    )
    assert painted > 0.9  # the loudest part fills the height


def test_a_translation_stands_beside_what_is_said_at_its_time(visit: Visit) -> None:
    french = made("Bonjour à toutes et à tous.", "Le budget est là.", language="french")
    answers = {
        TRANSCRIPTIONS: gives(french),
        TRANSLATIONS: gives(made("Hello everyone.", "The budget is here.")),
    }
    opened = visit(answers=answers)
    add(opened, SPEECH)
    opened.page.get_by_role("button", name="Translate to English").click()
    opened.page.wait_for_selector(".beside")
    assert opened.page.locator(".beside").first.inner_text().startswith("Hello everyone.")
    name, text = export(opened.page, "Translation: Text (.txt)")
    assert (name, text.split()[0]) == ("e02.en.txt", "Hello")


def test_a_running_file_is_cancelled(visit: Visit) -> None:
    opened = visit(answers={TRANSCRIPTIONS: lambda _: None})
    add(opened, SPEECH)
    with opened.page.expect_event("requestfailed"):
        opened.page.get_by_role("button", name="cancel e02.flac").click()
    opened.page.wait_for_selector(".state:text-is('cancelled')")
    assert opened.page.get_by_role("button", name="start again e02.flac").is_visible()


def test_a_busy_server_is_tried_again(visit: Visit) -> None:
    busy = refuses(503, "busy", **{"Retry-After": "1"})
    opened = visit(answers={TRANSCRIPTIONS: in_turn(busy, gives(MEETING))})
    add(opened, SPEECH)
    opened.page.wait_for_selector(".state >> text=/the server is busy/")
    opened.page.wait_for_selector("text=Scheveningen")


def test_a_key_is_requested_and_kept_for_the_session(visit: Visit) -> None:
    def check(route: Any) -> None:
        if route.request.headers.get("authorization") == "Bearer right-key":
            route.continue_()
        else:
            refuses(401, "the API key is missing or wrong")(route)

    opened = visit(answers={"**/v1/**": check})
    page = opened.page
    for key in ("wrong-key", "right-key"):
        page.get_by_label("API key").fill(key)
        page.get_by_role("button", name="Use it").click()
        page.wait_for_timeout(500)
    page.wait_for_selector("#model option", state="attached")
    page.reload()
    page.wait_for_selector("#model option", state="attached")
    assert not page.locator("#key-dialog").is_visible()


def test_markup_in_names_and_texts_stays_text(visit: Visit) -> None:
    bad = "<img src=x onerror=console.log(1)>"
    opened = visit(answers={TRANSCRIPTIONS: gives(made(f"{bad} said."))})
    add(opened, {"name": f"{bad}.wav", "mimeType": "audio/wav", "buffer": SPEECH.read_bytes()})
    opened.page.wait_for_selector(".words")
    assert opened.page.locator("main img").count() == 0
    assert bad in opened.page.inner_text("#job-name")
    assert bad in words(opened.page)[0]
    assert opened.messages == []


def test_three_hours_are_laid_out_near_the_window_only(visit: Visit) -> None:
    answer = made(
        *(f"This is sentence number {number} of a very long meeting." for number in range(3000)),
        doubtful=("2990",),
    )
    opened = visit(answers={TRANSCRIPTIONS: gives(answer)})
    add(opened, SPEECH)
    page = opened.page
    page.wait_for_selector(".words")
    rendered = page.evaluate(
        "[...document.querySelectorAll('.row')].filter((row) => row.checkVisibility({ contentVisibilityAuto: true })).length"
    )
    assert 0 < rendered < page.locator(".row").count() / 4
    page.keyboard.press("n")
    box = page.locator(".row", has_text="number 2990 ").bounding_box()
    view = page.locator("#scroller").bounding_box()
    assert view["y"] <= box["y"] <= view["y"] + view["height"]


# The window, the keyboard and screen readers


def test_keys_are_listed_and_none_acts_while_a_person_types(visit: Visit) -> None:
    page = open_meeting(visit).page
    page.keyboard.press("?")
    assert "doubtful" in page.inner_text("#keys")
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.type("nan e?")
    assert page.input_value("#search") == "nan e?"
    assert not page.locator("#help").is_visible()


def test_paragraphs_are_reached_and_edited_by_keyboard(visit: Visit) -> None:
    page = open_meeting(visit).page
    page.locator(".time").first.focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("End")
    page.keyboard.type(" Indeed.")
    page.keyboard.press("Escape")
    assert words(page)[0].count("Indeed.") == 1
    assert page.evaluate("document.activeElement.className") == "time"


BEYOND = """[...document.querySelectorAll("body *")].filter((each) => each.checkVisibility()
    && !each.matches(".visually-hidden, option") && each.getBoundingClientRect().right > innerWidth + 1).map((each) => each.outerHTML)"""
"""What stands beyond the right edge of the window."""

VIEWS = ("files", "live", "compare")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_rule_of_accessibility_is_broken(visit: Visit, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    page = open_meeting(visit, color_scheme=scheme).page
    page.keyboard.press("n")
    page.fill("#search", "the")
    for view in VIEWS:
        show(page, view)
        found = axe.Axe().run(page)
        assert found.violations_count == 0, (view, found.generate_report())


def test_the_page_fits_its_window(visit: Visit) -> None:
    page = open_meeting(visit).page
    page.fill("#search", "the")
    for size in (PHONE, {"width": 320, "height": 640}, {"width": 900, "height": 700}):
        page.set_viewport_size(size)
        for view in VIEWS:
            show(page, view)
            assert page.evaluate(BEYOND) == [], (view, size)


def show(page: Any, view: str) -> None:
    page.evaluate("(view) => { if (document.body.dataset.view !== view) location.hash = view; }", view)
    page.wait_for_selector(f"body[data-view={view}]")


def test_a_phone_shows_the_files_or_one_of_them(visit: Visit) -> None:
    page = open_meeting(visit, viewport=PHONE).page
    assert not page.locator("#drop").is_visible()
    page.get_by_role("link", name="all files").click()
    page.locator("#drop").wait_for()
    assert not page.locator("#text").is_visible()


def test_nothing_moves_for_those_who_want_no_motion(visit: Visit) -> None:
    page = visit(reduced_motion="reduce").page
    assert page.evaluate("getComputedStyle(document.querySelector('button')).transitionDuration") == "0s"
