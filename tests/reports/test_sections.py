"""The sections on output drift, noise, scaling and engines without a result."""

from typing import Any

import pytest
from rich.console import Console

from sottovoce.benchmark.schema.clips import ClipRow
from sottovoce.benchmark.schema.results import Results
from sottovoce.cli.tables import results_table
from sottovoce.reports.charts.chart import ErrorBarChart
from sottovoce.reports.formats.comment import render_comment
from sottovoce.reports.formats.html import render_report
from sottovoce.reports.sections import Section
from sottovoce.reports.view import ReportView, build_view
from sottovoce.statistics.intervals import Interval
from tests.support.detailed_results import build_detailed_sample
from tests.support.pages import Page
from tests.support.results import Sample, build_sample, with_languages

SECTIONS = ("Robustness", "Output drift", "Noise of the machine", "Scaling", "Against other engines")


@pytest.fixture(scope="module")
def sample() -> Sample:
    return build_detailed_sample()


@pytest.fixture(scope="module")
def words(sample: Sample) -> str:
    return Page(render_report(build_view(sample.results, sample.rows))).words


def view_with(sample: Sample, **changes: Any) -> ReportView:
    return build_view(sample.results.model_copy(update=changes), sample.rows)


def section_of(view: ReportView, heading: str) -> Section:
    found = (fold.content for group in view.groups for fold in group.folds if fold.heading == heading)
    return next(content for content in found if isinstance(content, Section))


def test_robustness_names_the_condition_that_costs_most(words: str) -> None:
    assert (
        "int8 is more than 0.5 points worse than fp32 under 1 of 3 conditions. "
        "Largest change: Noise, SNR 5 dB, +1.3 points (+1.0 to +1.7)." in words
    )
    assert "40 dB quieter" in words


def test_robustness_has_a_chart_for_each_variant_with_the_margin_as_its_band(sample: Sample) -> None:
    section = section_of(view_with(sample), "Robustness")
    charts = [chart for chart in section.charts if isinstance(chart, ErrorBarChart)]
    assert [chart.text.title for chart in charts] == ["fp16 under conditions", "int8 under conditions"]
    assert charts[1].band == (0.0, 0.5)
    assert [bar.value for bar in charts[1].error_bars] == pytest.approx([0.0, 0.2, 1.3])
    (table,) = section.tables
    assert [row.label for row in table.groups[0].rows] == ["Unchanged", "40 dB quieter", "Noise, SNR 5 dB"]
    assert len(table.columns) == 5  # the word errors of three entries, the changes of two


def test_output_drift_is_described(words: str) -> None:
    assert "int8: 96.2 % of its tokens are those of the baseline" in words
    assert "it detects another language for 1 of 12 clips" in words
    assert "more words than the baseline for 1 of 2 sounds without speech" in words
    assert "white noise 10 0 2 2" in words
    assert "silence 10 0 0 0" in words
    assert "white noise int8 Thank you." in words
    assert "int8 96.2 75 of 12 clips 1 of 12 1 0 by the baseline +4.0 140 words" in words


def test_an_english_only_model_has_no_columns_on_languages(sample: Sample) -> None:
    drift = tuple(
        found.model_copy(update={"language": None, "drift": None}) for found in sample.results.side_effects
    )
    section = section_of(view_with(sample, side_effects=drift), "Output drift")
    assert [column.label for column in section.tables[0].columns] == [
        "Token agreement",
        "Clips with the same tokens",
        "Length by baseline",
        "In sounds without speech",
    ]


def test_the_check_of_an_entry_against_itself_is_described(words: str) -> None:
    assert "int8 against itself, in a second process (A/A check): 1.00 times as fast" in words
    assert "the interval holds 1, as it should" in words
    assert "1 of 36 blocks stayed beyond a limit after 3 repeats" in words
    assert "Figures of disturbed blocks, by entry" in words
    assert "A noisy machine" not in words


def test_a_quiet_machine_is_called_quiet(sample: Sample) -> None:
    assert sample.results.noise is not None
    quiet = sample.results.noise.model_copy(update={"n_marked": 0})
    section = section_of(view_with(sample, noise=quiet), "Noise of the machine")
    assert "None of 36 blocks stayed beyond a limit, after 3 repeats." in section.sentences[1]


def test_a_noisy_machine_is_announced_before_the_figures(sample: Sample) -> None:
    assert sample.results.self_check is not None
    assert sample.results.noise is not None
    biased = sample.results.self_check.model_copy(update={"ratio": Interval(value=1.08, low=1.05, high=1.1)})
    loud = sample.results.noise.model_copy(update={"n_marked": 9})
    notices = view_with(sample, self_check=biased, noise=loud).notices
    assert [notice.title for notice in notices] == ["A noisy machine"]
    assert "int8 measured against itself is not 1.00 but 1.08 (1.05 to 1.10)" in notices[0].text
    assert "disturbed in 9 of 36 blocks" in notices[0].text


def test_throughput_and_threads_are_shown(words: str) -> None:
    assert "Offline throughput, clips decoded in batches" in words
    assert "Speed by number of threads" in words
    assert "fp32 with 16: " in words


def test_skipped_engines_are_listed_with_the_command_that_installs_them(words: str) -> None:
    assert 'openvino-genai missing; pip install "sottovoce[peers]"' in words


def test_the_slowest_clips_are_shown(words: str) -> None:
    assert "99th percentile ms per clip" in words
    assert "99 of 100 within (p99)" in words


def test_the_verdict_stays_first(words: str) -> None:
    first = words.index("int8: 1.9x faster")
    assert all(first < words.index(section) for section in SECTIONS)


def test_results_of_older_versions_have_no_empty_sections(
    results: Results, rows: tuple[ClipRow, ...]
) -> None:
    old = results.model_copy(update={"schema_version": 1})
    page = Page(render_report(build_view(old, rows)))
    assert not any(f" {section} " in page.words for section in SECTIONS)
    assert "p99" not in page.words.replace("p50, p90, p99", "")
    assert not page.has("audio")


LANGUAGES = {
    "ja": (6, Interval(value=0.011, low=-0.02, high=0.04)),
    "de": (37, Interval(value=0.022, low=0.005, high=0.039)),
}


def test_several_languages_have_their_table_before_the_folds_in_every_format() -> None:
    made = build_sample()
    results = with_languages(made.results, LANGUAGES)
    page = Page(render_report(build_view(results, made.rows))).words
    assert "de 37 1.9 1.9 \N{EM DASH} 1.9 +2.2 +0.50 to +3.9" in page[: page.index("Contents")]
    assert page.index("de 37") < page.index("ja characters 6")
    comment = render_comment(results, made.rows)
    assert "| `de` | 37 | 1.9 | 1.9 | " in comment[: comment.index("<details>")]
    assert "| `ja`, characters | 6 |" in comment
    console = Console(width=200)
    with console.capture() as captured:
        console.print(results_table(results, made.rows))
    assert "+2.2 (+0.50 to +3.9)" in captured.get()


def test_one_language_has_no_table_of_its_own() -> None:
    made = build_sample()
    assert build_view(made.results, made.rows).languages is None
    assert "By language" in Page(render_report(build_view(made.results, made.rows))).words
