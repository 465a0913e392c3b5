"""Log-mel features, with the attributes that programs read."""

from sottovoce.runtime.audio.constants import HOP_SAMPLES, SAMPLE_RATE_HZ, WINDOW_S
from sottovoce.runtime.audio.decode import Wave
from sottovoce.runtime.audio.features import N_FFT, Features, log_mel


class FeatureExtractor:
    """Computes features of audio; its settings are Whisper's."""

    n_fft = N_FFT
    hop_length = HOP_SAMPLES
    chunk_length = WINDOW_S
    sampling_rate = SAMPLE_RATE_HZ
    n_samples = WINDOW_S * SAMPLE_RATE_HZ
    nb_max_frames = n_samples // HOP_SAMPLES
    time_per_frame = HOP_SAMPLES / SAMPLE_RATE_HZ

    def __init__(self, feature_size: int = 80) -> None:
        """Take the number of mel bins: 80, or 128 for large-v3."""
        self.feature_size = feature_size

    def __call__(self, waveform: Wave, padding: int = HOP_SAMPLES) -> Features:
        """Compute log-mel features: float32, shape (n_mels, n_frames), of 10 ms each.

        Args:
            waveform: float32, shape (n_samples,), 16 kHz.
            padding: samples of silence behind it.
        """
        n_frames = (len(waveform) + padding) // HOP_SAMPLES
        features: Features = log_mel(waveform, n_mels=self.feature_size, n_frames=n_frames)[0]
        return features
