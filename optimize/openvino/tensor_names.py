"""The same graph, the same bytes: what OpenVINO numbers and orders by chance is put in order.

OpenVINO numbers nodes without a name by a counter of the process, so that a file tells what the process did
before. The stateful transformation goes through sets of pointers, so that states come in any order.
"""

import re
from pathlib import Path

NAMES = re.compile(r'(\b(?:output_)?names?=")([^"]*)(")')

NUMBERED = re.compile(r"(^|/)([A-Z][A-Za-z0-9]*)_(\d+)(?!\w)")
"""A part of a name."""

PYTORCH = "::"
"""In names by the operations of PyTorch, whose numbers do not depend on the process; recipes may hold them."""

MODEL_NAME = re.compile(r'(<net name="Model)\d+(")')


def renumber_nodes(folder: Path) -> None:
    """Number the nodes of a variant's graphs in the order in which they stand in each file."""
    for path in sorted(folder.glob("*.xml")):
        told = path.read_text(encoding="utf-8")
        settled = renumbered(told)
        if settled != told:
            written = path.with_name(f"settled-{path.name}")
            written.write_text(settled, encoding="utf-8")
            written.replace(path)  # not in place: other variants may share the file


def renumbered(xml: str) -> str:
    """Return a graph's text with its nodes numbered from 0; doing so again changes nothing."""
    numbers: dict[str, int] = {}

    def renumber(found: re.Match[str]) -> str:
        number = numbers.setdefault(f"{found[2]}_{found[3]}", len(numbers))
        return f"{found[1]}{found[2]}_{number}"

    def settle(found: re.Match[str]) -> str:
        names = (name if PYTORCH in name else NUMBERED.sub(renumber, name) for name in found[2].split(","))
        return found[1] + ",".join(names) + found[3]

    return NAMES.sub(settle, MODEL_NAME.sub(r"\g<1>0\2", xml))


def sort_states(path: Path) -> None:
    """Write a stateful graph anew with its states in the order of their names."""
    import openvino

    model = openvino.Core().read_model(path)
    sinks = sorted(model.get_sinks(), key=lambda sink: str(sink.get_attributes()["variable_id"]))
    for sink in sinks:
        model.remove_sink(sink)
    model.add_sinks(sinks)
    written = path.with_name(f"settled-{path.name}")
    openvino.save_model(model, written, compress_to_fp16=False)
    del model, sinks, sink  # they map the file that is replaced now
    for suffix in (".bin", ".xml"):
        written.with_suffix(suffix).replace(path.with_suffix(suffix))
