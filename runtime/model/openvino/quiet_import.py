"""Import OpenVINO without its converter: half the time, and no telemetry.

`import openvino` also imports `openvino.tools.ovc`, which converts models of other frameworks and takes half of the
import. It sends a telemetry event on import where the user once agreed to that. OpenVINO does without it where it is
not installed (`openvino/__init__.py`), and what runs on a device has no need of it.
"""

import sys
from functools import cache
from typing import Any

CONVERTER = "openvino.tools.ovc"


def import_openvino() -> Any:
    """Import OpenVINO, which stays complete: its `convert_model` imports the converter when it is called."""
    if "openvino" in sys.modules:
        return sys.modules["openvino"]
    sys.modules[CONVERTER] = None  # type: ignore[assignment]  # an import of it fails as if it were not installed
    try:
        import openvino
    finally:
        sys.modules.pop(CONVERTER, None)  # another thread may have removed it
    openvino.convert_model = _convert_model
    return openvino


@cache
def shared_core() -> Any:
    """Return the `openvino.Core` of the process: each one keeps a thread and 5 MB after it is deleted."""
    return import_openvino().Core()


def _convert_model(*args: Any, **options: Any) -> Any:
    from openvino.tools.ovc import convert_model

    return convert_model(*args, **options)
