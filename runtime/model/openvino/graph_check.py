"""Check a graph in OpenVINO's IR, before OpenVINO reads it: plain XML whose constants lie in its weights."""

import re
from collections.abc import Mapping
from pathlib import Path
from xml.parsers import expat

from sottovoce.errors import InputError

MAX_DEPTH = 64
"""Of elements; a loop's body in a loop's body has some twenty."""

MAX_GRAPH_BYTES = 256 * 1024 * 1024
"""A graph without its weights: large-v3's have less than 10 MB."""

KNOWN_SETS = re.compile(r"opset\d{1,3}|type_relaxed_opset")
"""Sets of operations that are OpenVINO's own; others need a library of the choice of the graph's author."""

MAX_DIGITS = 18


def check_ir(graph: bytes, n_weight_bytes: int, path: Path) -> None:
    """Refuse a graph with entities, foreign operations, or constants outside of its weights.

    Args:
        graph: content of the `.xml`.
        n_weight_bytes: size of the `.bin`.
        path: how errors call it.

    Raises:
        InputError: it is such a graph, or no XML.
    """
    if len(graph) > MAX_GRAPH_BYTES:
        raise _refused(path, f"has {len(graph)} bytes without its weights, want at most {MAX_GRAPH_BYTES}")
    _Checker(n_weight_bytes, path).check(graph)


class _Checker:
    def __init__(self, n_weight_bytes: int, path: Path) -> None:
        self._n_weight_bytes = n_weight_bytes
        self._path = path
        self._depth = 0

    def check(self, graph: bytes) -> None:
        # The encoding is given, so that a graph cannot be read as another one in another encoding.
        parser = expat.ParserCreate("UTF-8")
        parser.StartDoctypeDeclHandler = self._refuse_entities
        parser.ProcessingInstructionHandler = self._refuse_instructions
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        try:
            parser.Parse(graph, True)  # noqa: FBT003 - expat takes it by place
        except expat.ExpatError as cause:
            raise InputError(f"{self._path} is damaged: {cause}; make the variant again") from cause

    def _start(self, name: str, attributes: Mapping[str, str]) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _refused(self._path, f"nests its elements more than {MAX_DEPTH} deep")
        if name == "data" and "offset" in attributes:
            self._check_constant(attributes)
        elif name == "layer" and not KNOWN_SETS.fullmatch(attributes.get("version", "")):
            version = attributes.get("version", "")[:40]
            raise _refused(
                self._path, f"has an operation of the set {version!r}, which is not OpenVINO's own"
            )
        elif ":" in name:
            raise _refused(self._path, f"has the element {name[:40]!r}, which no graph has")

    def _check_constant(self, attributes: Mapping[str, str]) -> None:
        values = [attributes[key] for key in ("offset", "size") if key in attributes]
        if not all(each.isascii() and each.isdigit() and len(each) <= MAX_DIGITS for each in values):
            raise _refused(self._path, f"has a constant at {' '.join(values)[:60]!r}, want numbers")
        end = sum(map(int, values))
        if end > self._n_weight_bytes:
            raise InputError(
                f"{self._path} is damaged: it wants bytes to {end} of its weights, which have {self._n_weight_bytes}; "
                "make the variant again"
            )

    def _end(self, _: str) -> None:
        self._depth -= 1

    def _refuse_entities(self, *_: object) -> None:
        raise _refused(self._path, "declares a type of document or entities, which no graph does")

    def _refuse_instructions(self, *_: object) -> None:
        raise _refused(self._path, "has instructions for programs, which no graph has")


def _refused(path: Path, why: str) -> InputError:
    return InputError(f"{path} is refused: it {why}; make the variant again, or get it from whom you trust")
