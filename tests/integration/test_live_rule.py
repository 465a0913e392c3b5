"""When live words are final, chosen for a real model and used from then on."""

import json
import shutil
from pathlib import Path

import pytest

from sottovoce.runs import read_run
from sottovoce.runtime.audio.decode import decode_audio
from sottovoce.runtime.live.events import Committed
from sottovoce.runtime.loading import load
from sottovoce.speech.sets import read_speech
from sottovoce.speech.synthetic import demo_speech
from sottovoce.storage.artifacts import read_manifest, sha256_of_file
from tests.support.commands import output_of

pytestmark = [pytest.mark.slow, pytest.mark.large]


def test_the_rule_is_stored_with_the_variant_and_used(tiny_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)

    tuning = json.loads(output_of("tune-live", run, "--data", demo_speech(), "--clips", 3, "--json"))

    (chosen,) = [rule for rule in tuning["rules"] if rule["is_chosen"]]
    rates = [rule["error_rate"] for rule in tuning["rules"]]
    assert chosen["error_rate"] <= min(rates) + 0.005
    assert 0.0 < chosen["mean_delay_s"] < 2.0
    stored = read_run(run).variant("int8").facts.live
    assert stored is not None
    assert (stored.policy, stored.guard_s) == (chosen["policy"], chosen["guard_s"])
    listed = {entry.path: entry.sha256 for entry in read_manifest(run).files}
    assert listed["int8/manifest.json"] == sha256_of_file(run / "int8" / "manifest.json")
    wave = decode_audio(read_speech(str(demo_speech())).clips[0].audio)
    session = load(run / "int8").live(language="en")
    events = [*session.feed(wave), *session.finish()]
    assert any(isinstance(event, Committed) for event in events)
