"""The synthetic speech that comes with sottovoce."""

from pathlib import Path

from sottovoce.errors import InputError

SYNTHETIC_CALIBRATION_NOTICE = (
    "no --data: calibrates with sottovoce's own synthetic speech, one voice for each of six languages (English-only models: "
    "English). Speech like yours makes the variant more accurate: --data SPEECH"
)


def demo_speech() -> Path:
    """Return the manifest of the speech that comes with sottovoce.

    Raises:
        InputError: the installation lacks it.
    """
    import sottovoce.speech

    manifest = Path(next(iter(sottovoce.speech.__path__))) / "demo_speech" / "manifest.jsonl"
    if not manifest.is_file():
        raise InputError(f"{manifest} is missing; install sottovoce again")
    return manifest
