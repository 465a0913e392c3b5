"""Thirty crafted models, each opened in a process of its own: refused by us, in one line, before a library reads it.

Run it as a script. The parsers of onnxruntime and OpenVINO are replaced by ones that end the process.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.crafted_models import CRAFTED_MODELS

LIMIT_S = 60.0

SUBJECT = """
import os, sys
from pathlib import Path
import onnxruntime, openvino
from sottovoce.errors import InputError
from tests.support.crafted_models import CRAFTED_MODELS
onnxruntime.InferenceSession = openvino.Core.read_model = lambda *_, **__: os._exit(7)
try:
    CRAFTED_MODELS[sys.argv[1]](Path(sys.argv[2]))
except InputError as error:
    print(error)
    sys.exit(5)
"""
REFUSED, READ = 5, 7


def main() -> int:
    n_refused = 0
    for name in CRAFTED_MODELS:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "secret").write_bytes(bytes(32))
            variant = Path(folder) / "variant"
            variant.mkdir()
            is_refused, message = open_in_process(name, variant)
        n_refused += is_refused
        print(f"{'ok  ' if is_refused else 'FAIL'} {name:34} {message.replace(folder, '')}")
    print(f"crafted models: {n_refused} of {len(CRAFTED_MODELS)}")
    return 0 if n_refused == len(CRAFTED_MODELS) else 1


def open_in_process(name: str, variant: Path) -> tuple[bool, str]:
    command = [sys.executable, "-c", SUBJECT, name, str(variant)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return False, "hangs"
    lines = done.stdout.splitlines()
    if done.returncode == REFUSED and len(lines) == 1:
        return True, lines[0]
    message = "a library read it" if done.returncode == READ else f"exit code {done.returncode}"
    return False, f"{message} {done.stdout}{done.stderr[-300:]}"


if __name__ == "__main__":
    sys.exit(main())
