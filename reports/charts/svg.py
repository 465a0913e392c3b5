"""From Matplotlib's SVG file to an element that lives inside a page: themed, described, alone in its ids."""

import re
from xml.etree import ElementTree as ET

SVG_NAMESPACE = "http://www.w3.org/2000/svg"
_LINK = "{http://www.w3.org/1999/xlink}href"
_SVG = f"{{{SVG_NAMESPACE}}}"
_DROPPED = (f"{_SVG}metadata", f"{_SVG}style")
_REFERENCE = re.compile(r"url\(#([^)]+)\)|^#(.+)$")
_FONT_FAMILY = re.compile(r"'DejaVu Sans'(, [^;]*)?")


def inline_svg(svg: str, *, name: str, title: str, description: str, paints: dict[str, str]) -> str:
    """Make an SVG file part of a page.

    Args:
        svg: what Matplotlib wrote: its own output, never a stranger's file.
        name: prefix of the ids, one for each chart of a page.
        title: what a screen reader says first.
        description: what the chart shows, in words.
        paints: for each fixed colour (`#rrggbb`) what stands in its place, such as `var(--ink, #rrggbb)`.
    """
    root = ET.fromstring(svg)  # noqa: S314 written by Matplotlib in this process
    for parent in list(root.iter()):
        for child in [child for child in parent if child.tag in _DROPPED]:
            parent.remove(child)
    _isolate_ids(root, name)
    _paint(root, paints)
    _describe(root, name, title=title, description=description)
    ET.register_namespace("", SVG_NAMESPACE)
    return ET.tostring(root, encoding="unicode")


def _isolate_ids(root: ET.Element, name: str) -> None:
    """Drop the ids that nothing refers to, and give the others the chart's prefix."""
    for element in root.iter():
        if _LINK in element.attrib:
            element.set("href", element.attrib.pop(_LINK))
    values = [value for element in root.iter() for value in element.attrib.values()]
    used = {first or second for value in values for first, second in _REFERENCE.findall(value)}
    for element in root.iter():
        for key, value in list(element.attrib.items()):
            if key == "id" and value not in used:
                del element.attrib[key]
            elif key == "id":
                element.set(key, f"{name}-{value}")
            else:
                element.set(key, _REFERENCE.sub(lambda found: _renamed(found, name), value))


def _renamed(found: re.Match[str], name: str) -> str:
    clip, link = found.groups()
    return f"url(#{name}-{clip})" if clip else f"#{name}-{link}"


def _paint(root: ET.Element, paints: dict[str, str]) -> None:
    for element in root.iter():
        style = element.get("style")
        if style is not None:
            for colour, paint in paints.items():
                style = style.replace(colour, paint)
            element.set("style", _FONT_FAMILY.sub("var(--sans, sans-serif)", style))


def _describe(root: ET.Element, name: str, *, title: str, description: str) -> None:
    for place, (tag, text) in enumerate((("title", title), ("desc", description))):
        element = ET.Element(f"{_SVG}{tag}", {"id": f"{name}-{tag}"})
        element.text = text
        root.insert(place, element)
    for size in ("width", "height", "version"):
        root.attrib.pop(size, None)
    root.set("role", "img")
    root.set("aria-labelledby", f"{name}-title {name}-desc")
