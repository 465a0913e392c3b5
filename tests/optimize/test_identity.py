"""A setting that saving has changed is found and named."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sottovoce.errors import ParityError
from sottovoce.optimize.checkpoint.identity import Identity, check_identity, read_identity

Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def identity(tiny: Path) -> Identity:
    return read_identity(tiny)


def set_to(**changed: object) -> Change:
    return lambda config: config.update(changed)


def test_a_checkpoint_keeps_its_own_identity(tiny: Path, identity: Identity) -> None:
    check_identity(tiny, identity)


@pytest.mark.parametrize("variant", ["fp32", "fp16", "fp32-stateful", "int8"])
def test_every_variant_of_a_run_keeps_the_identity_of_its_checkpoint(
    tiny_run: Path, identity: Identity, variant: str
) -> None:
    check_identity(tiny_run / variant, identity)


@pytest.mark.parametrize(
    ("file", "change", "field"),
    [
        ("generation_config.json", lambda config: config["suppress_tokens"].pop(), "suppress_tokens"),
        ("generation_config.json", set_to(suppress_tokens=None), "suppress_tokens"),
        ("generation_config.json", set_to(begin_suppress_tokens=[]), "begin_suppress_tokens"),
        ("generation_config.json", lambda config: config["lang_to_id"].pop("<|fr|>"), "languages"),
        ("generation_config.json", lambda config: config["task_to_id"].pop("translate"), "tasks"),
        ("generation_config.json", set_to(decoder_start_token_id=5), "start_token"),
        ("generation_config.json", set_to(eos_token_id=5), "end_token"),
        ("generation_config.json", set_to(no_timestamps_token_id=5), "no_timestamps_token"),
        ("generation_config.json", set_to(is_multilingual=False), "is_multilingual"),
        ("generation_config.json", set_to(alignment_heads=[[0, 0]]), "alignment_heads"),
        ("generation_config.json", set_to(return_timestamps=True), "return_timestamps"),
        ("config.json", set_to(num_mel_bins=128), "n_mels"),
        ("config.json", set_to(decoder_layers=3), "decoder_layers"),
        ("preprocessor_config.json", set_to(feature_size=128), "feature_size"),
        ("preprocessor_config.json", set_to(hop_length=320), "hop_samples"),
    ],
)
def test_a_changed_setting_is_named(
    tiny: Path, identity: Identity, tmp_path: Path, file: str, change: Change, field: str
) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "saved"))
    config = json.loads((folder / file).read_text(encoding="utf-8"))
    change(config)
    (folder / file).write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ParityError, match=rf"^saved: {field} is .* after saving, was .* in the checkpoint"):
        check_identity(folder, identity)


def test_a_tokenizer_that_lost_its_timestamps_is_found(
    tiny: Path, identity: Identity, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "saved"))
    config = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    config["added_tokens"] = [token for token in config["added_tokens"] if token["content"] != "<|30.00|>"]
    (folder / "tokenizer.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ParityError, match="timestamp_tokens"):
        check_identity(folder, identity)


def test_a_long_setting_is_cut_to_one_short_line(tiny: Path, identity: Identity, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "saved"))
    config = json.loads((folder / "generation_config.json").read_text(encoding="utf-8"))
    config["lang_to_id"] = {}
    (folder / "generation_config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ParityError) as caught:
        check_identity(folder, identity)
    assert len(str(caught.value)) < 400
