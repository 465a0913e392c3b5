"""Whisper's audio: its sample rate, its frames and its window, as in `whisper/audio.py` of openai/whisper.

Imports nothing, so that a module that needs a number loads neither FFmpeg nor NumPy.
"""

SAMPLE_RATE_HZ = 16_000

HOP_SAMPLES = 160
"""From one mel frame to the next: 10 ms."""

FRAMES_PER_S = SAMPLE_RATE_HZ // HOP_SAMPLES

WINDOW_S = 30
"""What the encoder takes at once."""

WINDOW_SAMPLES = WINDOW_S * SAMPLE_RATE_HZ
WINDOW_FRAMES = WINDOW_S * FRAMES_PER_S

FRAMES_PER_POSITION = 2
"""The encoder's second convolution has stride 2."""

POSITIONS_PER_S = FRAMES_PER_S // FRAMES_PER_POSITION
WINDOW_POSITIONS = WINDOW_FRAMES // FRAMES_PER_POSITION
"""Encoder states of a window: 1500."""

BLOCK_SAMPLES = 512 * 512
"""16.4 s: long audio is read and searched for speech in such blocks. Larger ones save no time."""
