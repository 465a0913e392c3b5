"""Number nodes and order states reproducibly, so that the same graph gives the same bytes.

OpenVINO numbers unnamed nodes by a counter of the process, so that a file depends on earlier work of the process. The
stateful transformation iterates over sets of pointers, so that the order of states is random.
"""

import re
from pathlib import Path

from sottovoce.runtime.model.openvino.quiet_import import shared_core

NAMES = re.compile(r'(\b(?:output_)?names?=")([^"]*)(")')

NUMBERED = re.compile(r"(^|/)([A-Z][A-Za-z0-9]*)_(\d+)(?!\w)")
"""A part of a name."""

PYTORCH = "::"
"""Marks names from operations of PyTorch, whose numbers do not depend on the process; recipes may contain them."""

MODEL_NAME = re.compile(r'(<net name="Model)\d+(")')


def renumber_nodes(folder: Path) -> None:
    """Number the nodes of a variant's graphs in their order in each file."""
    for path in sorted(folder.glob("*.xml")):
        text = path.read_text(encoding="utf-8")
        changed = renumbered(text)
        if changed != text:
            written = path.with_name(f"renumbered-{path.name}")
            written.write_text(changed, encoding="utf-8")
            written.replace(path)  # not in place: other variants may share the file


def renumbered(xml: str) -> str:
    """Return a graph's text with its nodes numbered from 0; idempotent."""
    numbers: dict[str, int] = {}

    def renumber(found: re.Match[str]) -> str:
        number = numbers.setdefault(f"{found[2]}_{found[3]}", len(numbers))
        return f"{found[1]}{found[2]}_{number}"

    def rename(found: re.Match[str]) -> str:
        names = (name if PYTORCH in name else NUMBERED.sub(renumber, name) for name in found[2].split(","))
        return found[1] + ",".join(names) + found[3]

    return NAMES.sub(rename, MODEL_NAME.sub(r"\g<1>0\2", xml))


def sort_states(path: Path) -> None:
    """Rewrite a stateful graph with its states sorted by name."""
    import openvino

    model = shared_core().read_model(path)
    sinks = sorted(model.get_sinks(), key=lambda sink: str(sink.get_attributes()["variable_id"]))
    for sink in sinks:
        model.remove_sink(sink)
    model.add_sinks(sinks)
    written = path.with_name(f"sorted-{path.name}")
    openvino.save_model(model, written, compress_to_fp16=False)
    del model, sinks, sink  # they map the file that is replaced here
    for suffix in (".bin", ".xml"):
        written.with_suffix(suffix).replace(path.with_suffix(suffix))
