"""Two hundred injection attempts, in every untrusted text of a report; those that are not `CHOSEN` run with `--large`."""

import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token

from sottovoce.benchmark.schema.clips import ClipRow
from sottovoce.benchmark.schema.results import Results
from sottovoce.reports.charts.chart import ChartText, ErrorBar, ErrorBarChart
from sottovoce.reports.charts.svg import draw
from sottovoce.reports.formats.comment import render_comment
from sottovoce.reports.formats.html import render_report
from sottovoce.reports.formats.markdown import one_line
from sottovoce.reports.formats.model_card import render_model_card
from sottovoce.reports.sections import Section
from sottovoce.reports.transcripts.explorer import Audio, read_audio
from sottovoce.reports.view import FoldGroup, build_view
from tests.support.detailed_results import build_detailed_sample
from tests.support.pages import Page
from tests.support.results import Sample

WRITTEN = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)>",
    '<iframe srcdoc="<script>alert(1)</script>"></iframe>',
    '<a href="javascript:alert(1)">go</a>',
    '<form action="//evil.example"><button>go</button></form>',
    '<link rel=stylesheet href="//evil.example/x.css">',
    "<style>*{display:none}</style>",
    '<meta http-equiv=refresh content="0;url=//evil.example">',
    '<base href="//evil.example/">',
    '<object data="data:text/html,evil"></object>',
    '<math><mi xlink:href="javascript:alert(1)">x</mi></math>',
    '<svg><use href="data:image/svg+xml,evil#x"/></svg>',
    "javascript:alert(1)//",
    '" onmouseover="alert(1)" x="',
    "' autofocus onfocus='alert(1)",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;img src=x onerror=alert&#40;1&#41;&#62;",
    "{{ 7 * 7 }}{% for x in [1] %}{{ x }}{% endfor %}{# #}",
    "${alert(1)}`${1}`",
    "\u202eevil\u2066\u2069\u202c",
    "\x00\x08\x1b[31m\x7f\u0085",
    "]]><![CDATA[<script>alert(1)</script>",
    "**b** _i_ ~~x~~ # h1 > q - l @someone #1 https://evil.example www.evil.example a@evil.example ![i](//evil.example/x)",
    '!!python/object/apply:os.system ["true"]',
)
CONTEXTS = (
    "{}",
    'a"> {}',
    "a'> {} <b",
    "</script></style></title></textarea></svg>{}",
    "--><!-- {} <!--",
    "[a]({} 'b')",
    "a | {} | `` b",
    "a\n---\n{}: &x *x\n```\n</details>\n",
)
PAYLOADS = tuple(context.format(text) for context, text in itertools.product(CONTEXTS, WRITTEN))
CHOSEN = {len(WRITTEN) * (number % len(CONTEXTS)) + number for number in range(len(WRITTEN))}
"""Numbers of payloads: each text once, and each context."""
each_payload = pytest.mark.parametrize(
    "number",
    [
        pytest.param(number, marks=() if number in CHOSEN else pytest.mark.large)
        for number in range(len(PAYLOADS))
    ],
)
NAMED = {
    "href",
    "src",
    "srcset",
    "action",
    "data",
    "id",
    "class",
    "type",
    "name",
    "http-equiv",
    "content",
    "value",
}
LISTED = {"by"}
"""Texts that results take from a short list."""

FIELDS = frozenset(
    key
    for model in (Results, ClipRow)
    for key in re.findall(r'"([a-z_0-9]+)"', yaml.safe_dump(model.model_json_schema(), default_style='"'))
)
"""Keys of our own models, which are trusted."""

Change = Callable[[str], str]


@pytest.fixture(scope="module")
def sample() -> Sample:
    """Return one clip with every optional measurement, in four entries."""
    return build_detailed_sample(1)


def test_there_are_two_hundred_different_payloads() -> None:
    assert len(set(PAYLOADS)) == 200


def poison(sample: Sample, text: str) -> Sample:
    """Put a text before every untrusted text of the results."""

    def change(value: str) -> str:
        return f"{text} {value}"

    results = Results.model_validate(changed(sample.results.model_dump(), change))
    rows = tuple(ClipRow.model_validate(changed(row.model_dump(), change)) for row in sample.rows)
    failed = rows[-1].model_copy(update={"error": text})
    return Sample(results=results, rows=(*rows[:-1], failed))


def changed(value: Any, change: Change) -> Any:
    if type(value) is str:  # a choice is a kind of str
        return change(value)
    if isinstance(value, dict):
        return {
            key if key in FIELDS else changed(key, change): kept if key in LISTED else changed(kept, change)
            for key, kept in value.items()
        }
    if isinstance(value, list | tuple):
        return type(value)(changed(part, change) for part in value)
    return value


def harmless(text: str) -> str:
    """Replace what could do harm by capitals of the same width; equal words stay equal, white space stays."""
    names: dict[str, str] = {}

    def rename(match: re.Match[str]) -> str:
        word = match[0]
        if re.fullmatch(r"[a-z0-9]+", word):
            return word
        width = sum(character not in "\u202a\u202c\u202e\u2066\u2069" for character in word)
        return names.setdefault(word, capitals(len(names), width))

    return re.sub(r"\S+", rename, text)


def capitals(number: int, width: int) -> str:
    letters = ""
    for _ in range(width):
        letters = chr(ord("A") + number % 26) + letters
        number //= 26
    return letters


def render(sample: Sample) -> str:
    audio = Audio(files={str(sample.rows[0].audio): b"ID3"})
    view = build_view(sample.results, sample.rows, lambda _: audio)
    return render_report(replace(view, groups=tuple(map(without_charts, view.groups))))


def without_charts(group: FoldGroup) -> FoldGroup:
    """Leave out the drawings, which take long."""
    return replace(
        group,
        folds=tuple(
            replace(fold, content=replace(fold.content, charts=()))
            if isinstance(fold.content, Section)
            else fold
            for fold in group.folds
        ),
    )


def structure(page: Page) -> list[tuple[str, list[tuple[str, str]]]]:
    """List the elements with the names of their attributes, and the values that could act."""
    return [
        (tag, sorted((name, value if name in NAMED else "") for name, value in attributes.items()))
        for tag, attributes in page.tags
    ]


@each_payload
def test_a_page_gains_no_element_attribute_or_address(sample: Sample, number: int) -> None:
    text = render(poison(sample, PAYLOADS[number]))
    page, twin = Page(text), Page(render(poison(sample, harmless(PAYLOADS[number]))))
    assert page.open == []
    assert structure(page) == structure(twin)
    styles = {value for tag, attributes in page.tags for name, value in attributes.items() if name == "style"}
    assert all(re.fullmatch(r"(left|width):[\d.]+(ch|%)(;width:[\d.]+%)?", style) for style in styles)
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert not set("\x00\x08\x1b\x7f\u0085\u202e\u2066") & set(text)
    assert "{{ 7 * 7 }}" in page.words or "7 * 7" not in PAYLOADS[number]


@each_payload
@pytest.mark.parametrize("write", [render_comment, render_model_card])
def test_markdown_holds_untrusted_text_as_code_only(
    sample: Sample, number: int, write: Callable[[Results, tuple[ClipRow, ...]], str]
) -> None:
    bad, good = poison(sample, PAYLOADS[number]), poison(sample, harmless(PAYLOADS[number]))
    found = list(tokens(body_of(write(bad.results, bad.rows))))
    assert [outline(token) for token in found] == [
        outline(token) for token in tokens(body_of(write(good.results, good.rows)))
    ]


def body_of(document: str) -> str:
    return document.split("\n---\n", 1)[1] if document.startswith("---\n") else document


def tokens(text: str) -> Iterator[Token]:
    for token in MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(text):
        yield token
        yield from token.children or ()


def outline(token: Token) -> tuple[str, str, str]:
    """Describe a token without the content of code; an inline token is described by its children."""
    is_open = token.type in {"code_inline", "fence", "inline"}
    return token.type, str(sorted(token.attrs.items())), "" if is_open else token.content


@each_payload
def test_the_metadata_of_a_model_card_keep_their_shape(sample: Sample, number: int) -> None:
    from huggingface_hub import ModelCard

    bad = poison(sample, PAYLOADS[number])
    card = ModelCard(render_model_card(bad.results, bad.rows))
    good = poison(sample, harmless(PAYLOADS[number]))
    twin = ModelCard(render_model_card(good.results, good.rows))
    assert card.data.model_name == one_line(bad.results.model)
    assert shape(card.data.to_dict()) == shape(twin.data.to_dict())
    assert shape(yaml.safe_load(card.data.to_yaml())) == shape(twin.data.to_dict())


def shape(value: Any) -> Any:
    """Return keys and types."""
    if isinstance(value, dict):
        return {key: shape(part) for key, part in value.items()}
    return [shape(part) for part in value] if isinstance(value, list) else type(value)


def test_labels_of_a_chart_are_text() -> None:
    def tags(labels: tuple[str, ...]) -> list[str]:
        error_bars = tuple(ErrorBar(label=x, value=1.0, low=0.9, high=1.1, text=x, series=1) for x in labels)
        text = ChartText(name="hostile", title=labels[0], description=" ".join(labels), axis=labels[1])
        drawing = draw(ErrorBarChart(text=text, error_bars=error_bars, reference=1.0))
        return [element.tag for element in ET.fromstring(drawing).iter()]  # noqa: S314 our own

    assert tags(PAYLOADS) == tags(tuple(map(harmless, PAYLOADS)))


def test_an_audio_file_outside_the_results_is_not_read(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    (tmp_path / "secret.mp3").write_bytes(b"ID3")
    (folder / "link.mp3").symlink_to(tmp_path / "secret.mp3")
    (folder / "notes.txt").write_text("private", encoding="utf-8")
    names = ("../secret.mp3", str(tmp_path / "secret.mp3"), "link.mp3", "notes.txt", "\x00.mp3", "x" * 5000)
    assert read_audio(folder, (*names, *PAYLOADS)).files == {}
