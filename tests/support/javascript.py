"""Functions of JavaScript modules, called from tests through one process of node."""

import json
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

DRIVER = Path(__file__).parent / "call.mjs"


def find_node() -> str | None:
    """Return the node of the system, or the one that playwright carries."""
    if found := shutil.which("node"):
        return found
    spec = find_spec("playwright")
    carried = Path(spec.origin).parent / "driver" / "node" if spec and spec.origin else None
    return str(carried) if carried and carried.exists() else None


class JavaScript:
    """A process of node that calls functions of the modules of a folder."""

    def __init__(self, node: str, folder: Path) -> None:
        self._folder = folder
        self._process = subprocess.Popen(
            [node, str(DRIVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )

    def call(self, function: str, *args: Any) -> Any:
        """Call `module.function` with values that JSON has.

        Raises:
            RuntimeError: the function threw, with its message.
        """
        module, name = function.split(".")
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        call = {"module": (self._folder / f"{module}.js").as_uri(), "name": name, "args": args}
        self._process.stdin.write(json.dumps(call) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["result"]

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=10)
