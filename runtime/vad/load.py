"""Choose a voice activity detector."""

from sottovoce.runtime.vad.energy import EnergyVoiceActivity
from sottovoce.runtime.vad.frames import VoiceActivity
from sottovoce.runtime.vad.silero import SileroVoiceActivity, find_silero


def load_voice_activity() -> VoiceActivity:
    """Load Silero's network if a package with its weights is installed, else the energy detector.

    Raises:
        InputError: the package is installed, but its weights cannot be read.
    """
    source = find_silero()
    return EnergyVoiceActivity() if source is None else SileroVoiceActivity.load(source)
