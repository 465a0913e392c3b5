"""The page in a real browser: layout, audio and keyboard, with scripts and without."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sottovoce.benchmark.schema.clips import ClipRow
from sottovoce.reports.report import write_report
from tests.support.browser import PHONE, WATCH, chromium, needs_chromium
from tests.support.detailed_results import build_detailed_sample, write_tones
from tests.support.results import Sample, save_sample

DESKTOP = {"width": 1200, "height": 900}
PAPER = {"width": 672, "height": 1017}
"""A4 at 96 dots an inch, without the margins."""

PLACES = """[...document.querySelectorAll(".clip:not([hidden])")].map((clip) =>
    [...clip.querySelectorAll(".line")].map((line) =>
        [...line.querySelectorAll(".w")].map((word) => word.getBoundingClientRect().toJSON())))"""

pytestmark = needs_chromium


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A page in the browser, its messages and requests."""

    page: Any
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


Open = Callable[..., Opened]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a report of twelve clips with audio."""
    return write(build_detailed_sample(), tmp_path_factory.mktemp("report"))


def write(sample: Sample, folder: Path) -> Path:
    results = save_sample(sample.results, sample.rows, folder / "results")
    write_tones(sample.rows, results)
    return write_report(results, folder / "report.html", force=False)


@pytest.fixture
def visit(browser: Any) -> Iterator[Open]:
    contexts = []

    def visit(report: Path, *, unfold: bool = True, **options: Any) -> Opened:
        context = browser.new_context(**{"viewport": DESKTOP, **options})
        contexts.append(context)
        context.add_init_script(WATCH)
        opened = Opened(page=context.new_page())
        opened.page.on("console", lambda message: opened.messages.append(message.text))
        opened.page.on("pageerror", lambda error: opened.messages.append(str(error)))
        opened.page.on("dialog", lambda dialog: opened.messages.append(dialog.message))
        opened.page.on("request", lambda request: opened.requests.append(request.url))
        opened.page.goto(report.as_uri())
        if unfold:
            opened.page.evaluate("for (const fold of document.querySelectorAll('.fold')) fold.open = true")
        return opened

    yield visit
    for context in contexts:
        context.close()


def shown_ids(page: Any) -> list[str]:
    return [clip.inner_text() for clip in page.locator(".clip:visible .id").all()]


def choose(page: Any, label: str, option: str) -> None:
    page.get_by_label(label, exact=True).select_option(label=option)


def test_the_page_requests_nothing_logs_nothing_and_violates_no_policy(report: Path, visit: Open) -> None:
    opened = visit(report)
    assert [url for url in opened.requests if not url.startswith("data:")] == [report.as_uri()]
    assert opened.messages == []
    assert opened.page.evaluate("violations") == []


def test_the_policy_stops_a_script_that_is_not_ours(report: Path, visit: Open) -> None:
    opened = visit(report)
    opened.page.evaluate(
        """() => {
            const script = document.createElement("script");
            script.textContent = "window.hacked = true";
            document.body.append(script);
            document.body.insertAdjacentHTML("beforeend", "<img src=https://x.invalid/ onerror='window.hacked = true'>");
        }"""
    )
    opened.page.wait_for_function("violations.length >= 2")
    assert opened.page.evaluate("window.hacked") is None
    assert {"script-src-elem", "img-src"} <= set(opened.page.evaluate("violations"))


def test_hostile_texts_do_nothing(visit: Open, tmp_path: Path) -> None:
    texts = (
        "<script>console.log(1)</script>",
        '"><img src=x onerror=console.log(2)>',
        "</script><b>",
        "${1}`",
    )
    sample = build_detailed_sample()
    rows = tuple(poisoned(row, texts[place % len(texts)]) for place, row in enumerate(sample.rows))
    opened = visit(write(Sample(results=sample.results, rows=rows), tmp_path))
    choose(opened.page, "Sorted by", "clip")
    opened.page.get_by_label("Words or clip").fill("onerror")
    assert opened.page.locator(".clip:visible").count() > 0
    assert opened.messages == []
    assert opened.page.evaluate("violations") == []
    assert opened.page.locator(".clip img, .clip b, .clip script").count() == 0


def poisoned(row: ClipRow, text: str) -> ClipRow:
    return row.model_copy(
        update={"normalized_hypothesis": f"{text} {row.normalized_hypothesis} {row.variant}", "source": text}
    )


def test_sorting_changes_the_order(report: Path, visit: Open) -> None:
    page = visit(report).page
    page.get_by_role("button", name="Show all").click()
    by_harm = shown_ids(page)
    choose(page, "Sorted by", "clip")
    assert shown_ids(page) == sorted(by_harm)
    page.get_by_label("reversed").check()
    assert shown_ids(page) == sorted(by_harm, reverse=True)
    page.get_by_label("reversed").uncheck()
    for option, key in (("length, longest first", "length"), ("speed-up, least first", "speedup")):
        choose(page, "Sorted by", option)
        values = [float(clip.get_attribute(f"data-{key}")) for clip in page.locator(".clip:visible").all()]
        assert values == sorted(values, reverse=key == "length")
    choose(page, "Sorted by", "harm, most first")
    assert shown_ids(page) == by_harm


def test_filters_and_search_choose_clips(report: Path, visit: Open) -> None:
    page = visit(report).page
    n_clips = page.locator(".clip:visible").count()
    choose(page, "Variant", "int8")
    assert 0 < page.locator(".clip:visible").count() < n_clips
    assert {label.inner_text() for label in page.locator(".clip:visible dt.at-2").all()} == {"int8"}
    choose(page, "Length", "under 5 s")
    lengths = [float(clip.get_attribute("data-length")) for clip in page.locator(".clip:visible").all()]
    assert lengths
    assert all(length < 5 for length in lengths)
    choose(page, "Length", "all")
    page.get_by_label("Words or clip").fill("Small  Blue book")
    assert page.locator(".clip:visible").count() == 1
    assert "1 of" in page.locator("output").inner_text()
    page.get_by_label("Words or clip").fill("nowhere said")
    assert page.locator(".clip:visible").count() == 0


def test_many_clips_are_shown_on_demand(visit: Open, tmp_path: Path) -> None:
    page = visit(write(build_detailed_sample(36), tmp_path)).page
    assert page.locator(".clip:visible").count() == 10
    more = page.get_by_role("button", name=re.compile("Show all"))
    n_clips = int(more.inner_text().removeprefix("Show all "))
    more.click()
    assert page.locator(".clip:visible").count() == n_clips > 10
    assert not more.is_visible()


def test_a_word_plays_the_audio_from_its_place(report: Path, visit: Open) -> None:
    page = visit(report).page
    choose(page, "Variant", "int8")
    for clip in page.locator(".clip:visible").all()[
        :2
    ]:  # the second one plays a copy of another clip's audio
        word = clip.locator("button.w").nth(5)
        start_s = float(word.get_attribute("data-start"))
        word.click()
        audio = clip.locator("audio").element_handle()
        page.wait_for_function("(audio) => !audio.paused && audio.readyState > 2", arg=audio)
        assert start_s - 0.05 <= audio.evaluate("(audio) => audio.currentTime") < start_s + 2
    assert (
        page.evaluate("[...document.querySelectorAll('audio')].filter((audio) => !audio.paused).length") == 1
    )
    page.wait_for_selector("button.w.now")


def test_the_keyboard_reaches_controls_and_words(report: Path, visit: Open) -> None:
    page = visit(report).page
    page.get_by_label("Sorted by").focus()
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.name || document.activeElement.className"))
        if reached[-1].startswith("w"):
            break
    assert {"reversed", "search"} <= set(reached)
    first = page.evaluate("document.activeElement.dataset.start")
    page.keyboard.press("ArrowRight")
    second = page.evaluate("document.activeElement.dataset.start")
    assert float(second) > float(first)
    page.keyboard.press("Enter")
    page.wait_for_function("[...document.querySelectorAll('audio')].some((audio) => !audio.paused)")


def test_everything_is_there_without_scripts(report: Path, visit: Open) -> None:
    page = visit(report, unfold=False, java_script_enabled=False).page
    page.get_by_role("link", name="Changed transcripts").click()
    page.locator(".folded > summary").click()
    clips = page.locator(".clip")
    assert clips.count() > 5
    assert all(clip.is_visible() for clip in clips.all())
    assert not page.locator(".controls").is_visible()
    assert page.locator(".clip audio[controls]").first.is_visible()
    assert page.locator(".clip a[href^='#clip-']").first.is_visible()


def test_words_of_the_three_lines_stand_under_one_another(report: Path, visit: Open) -> None:
    for viewport in (DESKTOP, PHONE):
        clips = visit(report, viewport=viewport).page.evaluate(PLACES)
        assert len(clips) > 5
        for lines in clips:
            for reference, baseline, variant in zip(*lines, strict=True):
                assert reference["x"] == baseline["x"] == variant["x"]
                assert reference["y"] < baseline["y"] < variant["y"]


def test_paper_has_every_fold_and_the_terms(report: Path, visit: Open) -> None:
    page = visit(report, unfold=False, viewport=PAPER).page
    page.emulate_media(media="print")
    folds = page.locator(".fold .inside").all()
    assert len(folds) > 8
    assert all(fold.is_visible() and fold.bounding_box()["height"] > 20 for fold in folds)
    assert page.locator(".terms dt", has_text="RTFx").is_visible()
    assert page.pdf(format="A4").startswith(b"%PDF-")


def test_the_first_screen_has_the_verdict_four_figures_and_the_best_peer(report: Path, visit: Open) -> None:
    for viewport in ({"width": 1400, "height": 900}, PHONE):
        page = visit(report, unfold=False, viewport=viewport).page
        figures = page.locator(".figures > div").all()
        assert len(figures) == 4
        for shown in (page.locator("h1"), *figures):
            box = shown.bounding_box()
            assert box["y"] + box["height"] <= viewport["height"]
        assert "faster-whisper:int8" in figures[0].inner_text()
        assert page.locator("section.finding h2").count() == 3


def test_the_page_opens_short_and_the_contents_lead_into_the_folds(report: Path, visit: Open) -> None:
    page = visit(report, unfold=False).page
    assert page.evaluate("document.documentElement.scrollHeight") < 4 * DESKTOP["height"]
    page.get_by_role("link", name="Every variant").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("text=The variants side by side", state="visible")
    assert page.locator("text=Output drift, against").first.is_hidden()


def test_terms_are_explained_on_hover(report: Path, visit: Open) -> None:
    page = visit(report).page
    assert "Seconds of audio per second of work" in page.locator("abbr", has_text="RTFx").first.get_attribute(
        "title"
    )


def test_a_phone_shows_the_figures_of_every_variant(report: Path, visit: Open) -> None:
    page = visit(report, viewport=PHONE).page
    row = page.locator("table", has_text="The variants side by side").locator("tr", has_text="RTFx")
    for cell in row.locator("td").all():
        box = cell.bounding_box()
        assert 0 <= box["x"] < box["x"] + box["width"] <= PHONE["width"]
        name = cell.evaluate("(cell) => getComputedStyle(cell, '::before').content")
        assert name.strip('"').split(",")[0] in {"fp32", "fp16", "int8", "faster-whisper:int8"}
    assert row.locator("td").count() == 4


def test_no_column_of_ten_engines_is_cut_off_on_paper(visit: Open, tmp_path: Path) -> None:
    sample = build_detailed_sample()
    *_, last = sample.results.variants
    more = [last.model_copy(update={"name": f"openvino-genai:fp32-stateful-{place}"}) for place in range(6)]
    results = sample.results.model_copy(update={"variants": (*sample.results.variants, *more)})
    rows = [row for row in sample.rows if row.variant == last.name]
    copies = [row.model_copy(update={"variant": each.name}) for each in more for row in rows]
    page = visit(write(Sample(results=results, rows=(*sample.rows, *copies)), tmp_path), viewport=PAPER).page
    page.emulate_media(media="print")
    widest = page.evaluate("Math.max(...[...document.querySelectorAll('table')].map((t) => t.scrollWidth))")
    assert widest <= PAPER["width"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_rule_of_accessibility_is_broken(report: Path, visit: Open, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    found = axe.Axe().run(visit(report, color_scheme=scheme).page)
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize(
    "options",
    [{}, {"color_scheme": "dark"}, {"viewport": PHONE}, {"viewport": PHONE, "color_scheme": "dark"}],
    ids=["light", "dark", "phone", "dark phone"],
)
def test_the_page_fits_its_window(report: Path, visit: Open, options: dict[str, Any]) -> None:
    page = visit(report, **options).page
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
