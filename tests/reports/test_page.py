import re
from xml.etree import ElementTree as ET

import pytest

from sottovoce.benchmark.schema.clips import ClipRow
from sottovoce.benchmark.schema.comparisons import PeerComparison
from sottovoce.benchmark.schema.machine import RooflinePart, RooflinePoint
from sottovoce.benchmark.schema.precision import Precision
from sottovoce.benchmark.schema.results import ColdStart, Results
from sottovoce.machine.environment import MachineRates
from sottovoce.reports.formats.html import content_policy, render_report
from sottovoce.reports.view import build_view
from sottovoce.statistics.intervals import Interval
from tests.support.pages import Page

LOADING = ("src", "href", "srcset", "data", "action", "poster", "background")


def render(results: Results, rows: tuple[ClipRow, ...]) -> str:
    return render_report(build_view(results, rows))


@pytest.fixture(scope="module")
def text(results: Results, rows: tuple[ClipRow, ...]) -> str:
    return render(results, rows)


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_every_element_is_closed_and_every_chart_is_well_formed(text: str, page: Page) -> None:
    assert page.open == []
    charts = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    assert len(charts) == 7
    for chart in charts:
        ET.fromstring(chart)  # noqa: S314 our own


def test_the_page_loads_nothing_and_runs_no_script_but_its_own(text: str, page: Page) -> None:
    assert not any(page.has(tag) for tag in ("link", "iframe", "object", "embed", "base", "img", "form"))
    assert [attributes for tag, attributes in page.tags if tag == "script"] == [{}]
    for _, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        assert all(attributes[name].startswith("#") for name in LOADING if name in attributes)
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", text))
    assert "@import" not in text


def test_a_content_security_policy_forbids_what_is_not_needed(text: str, page: Page) -> None:
    policies = [a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    script = re.findall(r"<script>(.*?)</script>", text, flags=re.DOTALL)
    assert policies == [content_policy(script[0])]
    assert policies[0].startswith("default-src 'none'; script-src 'sha256-")
    assert "'unsafe-inline'" not in policies[0].split("style-src")[0]


def test_the_page_names_its_language_and_ids_are_unique(page: Page) -> None:
    assert page.tags[0] == ("html", {"lang": "en"})
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_tables_have_captions_and_scoped_headings(page: Page) -> None:
    names = [name for name, _ in page.tags]
    assert names.count("caption") == names.count("table") >= 4
    assert all(attributes.get("scope") for name, attributes in page.tags if name == "th")


def test_the_same_results_give_the_same_bytes(text: str, results: Results, rows: tuple[ClipRow, ...]) -> None:
    assert render(results, rows) == text


def test_the_verdicts_come_first(page: Page) -> None:
    assert (
        page.words.index("int8: 1.9x faster")
        < page.words.index("int8 is 1.9 times as fast as fp32")
        < page.words.index("The variants side by side")
    )
    assert "fp16 measured 1.03 times as fast as fp32, but" in page.words


def test_synthetic_speech_is_announced_and_real_speech_is_not(
    page: Page, results: Results, rows: tuple[ClipRow, ...]
) -> None:
    sentence = "its WER says nothing about real speech"
    assert sentence not in page.words
    dataset = results.dataset.model_copy(update={"synthetic": True})
    demo = Page(render(results.model_copy(update={"dataset": dataset}), rows))
    assert sentence in demo.words


def test_failures_and_clips_left_out_are_listed_with_reasons(
    results: Results, rows: tuple[ClipRow, ...]
) -> None:
    broken = rows[-1].model_copy(update={"error": "ran into a loop", "latency_s": ()})
    page = Page(render(results, (*rows[:-1], broken)))
    assert "1 clip failed under int8" in page.words
    assert "ran into a loop" in page.words
    assert "longer than 30 s" in page.words


def test_marks_are_written_out_too(page: Page) -> None:
    assert "harper (broken)" in page.words
    assert "blue (broken: missing)" in page.words
    assert "coast (fixed)" in page.words


def test_only_the_first_ten_changes_are_unfolded(results: Results, rows: tuple[ClipRow, ...]) -> None:
    assert '<details class="folded"' not in render(results, rows)
    many = tuple(
        row.model_copy(update={"clip_id": f"{row.clip_id}-{copy}"}) for copy in range(5) for row in rows
    )
    n_changed = 5 * sum(comparison.n_changed for comparison in results.comparisons)
    shown, folded = render(results, many).split('<details class="folded"')
    assert shown.count('<li class="clip"') == 10
    assert folded.count('<li class="clip"') == n_changed - 10


def test_a_single_variant_makes_a_report_without_a_verdict(
    results: Results, rows: tuple[ClipRow, ...]
) -> None:
    alone = results.model_copy(update={"variants": results.variants[:1], "comparisons": ()})
    page = Page(render(alone, rows))
    assert "Only fp32 was measured: nothing to compare." in page.words
    assert "Changed transcripts" not in page.words


REQUESTED = Precision(label="int8_float32", components={}, threads=2, streams=1)


def with_peers(results: Results, peer: str = "faster-whisper:int8") -> Results:
    speedup = Interval(value=2.31, low=2.2, high=2.42)
    delta = Interval(value=-0.004, low=-0.009, high=0.001)
    cold = ColdStart(seconds=(0.9, 1.1, 1.0), median_s=1.0, peak_rss_bytes=250_000_000)
    bound = RooflinePoint(part=RooflinePart.DECODE_STEP, ceiling_s=0.003, achieved_s=0.004, share=0.75)
    variants = tuple(
        variant.model_copy(update={"cold_start": cold, "ceilings": (bound,)}) for variant in results.variants
    )
    other = variants[-1].model_copy(
        update={"name": peer, "engine": peer.partition(":")[0], "precision": REQUESTED}
    )
    return results.model_copy(
        update={
            "variants": (*variants, other),
            "peers": (PeerComparison(subject="int8", peer=peer, speedup=speedup, wer_delta=delta),),
            "machine": MachineRates(macs_per_s={"f32": 7e10, "i8": 3e11}, bytes_per_s=2e10),
        }
    )


def test_other_engines_have_a_section_where_they_were_measured(
    page: Page, results: Results, rows: tuple[ClipRow, ...]
) -> None:
    assert "Against other engines" not in page.words
    found = Page(render(with_peers(results), rows)).words
    assert "Against other engines" in found
    assert "faster-whisper:int8 int8_float32, as requested 2.3 2.2 to 2.4" in found


def test_cold_starts_and_the_roofline_are_shown_where_they_were_measured(
    page: Page, results: Results, rows: tuple[ClipRow, ...]
) -> None:
    assert "Cold start" not in page.words
    assert "Roofline" not in page.words
    found = Page(render(with_peers(results), rows)).words
    assert "Cold start s 1.0 0.90 to 1.1" in found
    assert "Decode step 3.0 4.0 75" in found
    assert "f32 70, i8 300 billion multiply-accumulates a second" in found
