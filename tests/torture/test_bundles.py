"""Changed bundles, forged archives, and the same bytes from five builds."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from random import Random

from sottovoce.bundle.build import Built, build
from sottovoce.bundle.contents import BundleSpec
from sottovoce.bundle.device import verify
from sottovoce.bundle.open_bundle import unpack, unpacked
from sottovoce.errors import SottovoceError
from sottovoce.progress import Silent
from sottovoce.runs import read_run
from sottovoce.speech.synthetic import demo_speech
from tests.support.bundle_changes import change_at_random
from tests.support.hostile_archives import Parts, hostile_archives

BUILDS = (
    ("0", "UTC", "C", "022"),
    ("1", "Asia/Kathmandu", "C.UTF-8", "077"),
    ("2", "America/St_Johns", "POSIX", "002"),
    ("3", "Pacific/Apia", "en_US.UTF-8", "000"),
    ("random", "Europe/London", "C", "027"),
)
"""Hash seed, time zone, locale, umask."""

COMMAND = "import os, sys; os.umask(int(sys.argv[1], 8)); from sottovoce.cli.app import main; sys.argv[1:] = sys.argv[2:]; main()"


def pack(run: Path, out: Path) -> Built:
    return build(read_run(run), BundleSpec(variant="int8", speech=demo_speech()), out, Silent())


def test_random_changes_are_found(rounds: int, tiny_run: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    unpack(pack(tiny_run, tmp_path / "tiny.tar.gz").path, whole)
    assert verify.main([str(whole)]) == 0
    draw = Random(1)  # noqa: S311 - a seeded test
    found = 0
    for place in range(rounds):
        folder = tmp_path / "changed" / "bundle"
        shutil.copytree(whole, folder)
        what = change_at_random(folder, draw)
        is_found = verify.main([str(folder)]) == 1
        found += is_found
        if not is_found:
            print(f"change {place} was not found: {what}")
        shutil.rmtree(folder.parent)
    print(f"random changes to a bundle: {found} of {rounds} found")
    assert found == rounds


def test_hostile_archives_are_contained(rounds: int, tiny_run: Path, tmp_path: Path) -> None:
    assert rounds
    opened, target = tmp_path / "opened", tmp_path / "target"
    opened.mkdir()
    target.mkdir()
    unpack(pack(tiny_run, tmp_path / "tiny.tar.gz").path, opened)
    manifest = json.loads((opened / "bundle.json").read_bytes())
    manifest["files"] = [entry for entry in manifest["files"] if entry["size_bytes"] < 20_000]
    manifest["golden"] = [{**manifest["golden"][0], "path": manifest["files"][0]["path"]}]
    files = {entry["path"]: (opened / entry["path"]).read_bytes() for entry in manifest["files"]}
    before = sorted(tmp_path.rglob("*"))
    contained = tried = 0
    for name, raw in hostile_archives(Parts(top=manifest["name"], manifest=manifest, files=files)):
        path = tmp_path / "hostile.tar.gz"
        path.write_bytes(raw)
        try:
            with unpacked(path, target):
                print(f"taken: {name}")
        except SottovoceError as error:
            path.unlink()
            contained += sorted(tmp_path.rglob("*")) == before
            print(f"{name}: {error}")
        tried += 1
    print(f"hostile archives: {contained} of {tried} contained")
    assert contained == tried


def test_five_builds_are_one(rounds: int, tiny_run: Path, tmp_path: Path) -> None:
    assert rounds
    hashes = []
    for place, (seed, zone, locale, umask) in enumerate(BUILDS):
        folder = tmp_path / f"folder {place}"
        folder.mkdir()
        out = folder / f"bundle-{place}.tar.gz"
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, umask, "bundle", str(tiny_run), "--out", out.name, "--json"],
            cwd=folder,
            env={**os.environ, "PYTHONHASHSEED": seed, "TZ": zone, "LC_ALL": locale, "TMPDIR": str(folder)},
            capture_output=True,
            text=True,
            check=True,
        )
        hashes.append(json.loads(done.stdout)["sha256"])
    print(f"builds: {len(hashes)}, hashes: {len(set(hashes))} ({hashes[0]})")
    assert len(set(hashes)) == 1
