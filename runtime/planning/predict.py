"""Predict speed, memory and the first transcript of a Whisper on a device, from the device's rates and the model's dimensions.

Time is the sum of products, at the rates of the device, and of weights and states that each step reads. The constants were
fitted on tiny.en and base in float and INT8 on one CPU, and small, large-v3-turbo and distil-large-v3 on another (docs/lab-notes.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sottovoce.runtime.audio.constants import FRAMES_PER_S, POSITIONS_PER_S, WINDOW_POSITIONS, WINDOW_S
from sottovoce.runtime.model.shape import WhisperShape
from sottovoce.runtime.planning.costs import VariantCosts
from sottovoce.runtime.planning.device import INT8, Device
from sottovoce.storage.documents import Document
from sottovoce.terms import Layout, MemoryUse

PADDING_KEYS = 48
"""What stands for the padding behind the speech, in each of the encoder's layers and for the decoder."""

MARGIN_S = 0.5

STATE_BYTES = 2
"""Of a key or value of cross-attention, in bf16."""

OPERATIONS_OF_LAYER = 24
"""Nodes of a decoder's layer."""

TABLE_BYTES_PER_S = 22e9
"""Most that a thread reads of an output layer in INT8, which computes in float32."""

INT8_PRODUCTS, FLOAT_PRODUCTS = 1.9, 1.1
"""Time of the encoder's products with weights by that of the products of `device.py`: INT8 quantizes activations beside them."""

STEP, OPERATION, CLIP_S = 1.15, 6.0, 0.01
"""Time of what a step reads and of its nodes, by that of the weights and nodes of `device.py`; of each clip, whatever its length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """The work of a clip: its length and the tokens of its text."""

    audio_s: float
    n_tokens: int


USUAL_CLIP = Clip(audio_s=7.7, n_tokens=26)
"""The mean of LibriSpeech test-clean."""


class Prediction(Document):
    """What a variant is predicted to do on a device."""

    model: str
    recipe: str
    memory_use: MemoryUse
    rtfx: float
    first_transcript_s: float
    memory_bytes: int
    disk_bytes: int


def encoder_s(device: Device, shape: WhisperShape, costs: VariantCosts, audio_s: float) -> float:
    """Predict the seconds of the encoder and of the keys and values of cross-attention."""
    n_positions, n_states = _n_positions(costs, audio_s), _n_states(costs, audio_s)
    layers = shape.layer_macs(n_positions) + shape.cross_macs(n_states)
    others = shape.convolution_macs(n_positions) + shape.attention_macs(n_positions, n_states)
    slower = INT8_PRODUCTS if costs.encoder_kind == INT8 else FLOAT_PRODUCTS
    layers_s = slower * layers / device.products_per_s(costs.encoder_kind)
    return layers_s + FLOAT_PRODUCTS * others / device.products_per_s(costs.float_kind)


def step_s(device: Device, shape: WhisperShape, costs: VariantCosts, audio_s: float) -> float:
    """Predict the seconds of a decode step."""
    layers = costs.decoder_bytes * shape.step_weights
    table = costs.decoder_bytes * shape.table_weights
    states = STATE_BYTES * 2 * shape.decoder_layers * _n_states(costs, audio_s) * shape.d_model
    rate = device.read_bytes_per_s(layers + table + states)
    table_rate = min(rate, TABLE_BYTES_PER_S * device.threads) if costs.decoder_bytes < FLOAT_BYTES else rate
    nodes_s = shape.decoder_layers * OPERATIONS_OF_LAYER * device.operation_s
    return STEP * ((layers + states) / rate + table / table_rate) + OPERATION * nodes_s


def clip_s(device: Device, shape: WhisperShape, costs: VariantCosts, clip: Clip) -> float:
    """Predict the seconds of a clip whose length the process has met before."""
    features_s = _encoded_s(costs, clip.audio_s) * FRAMES_PER_S * device.frame_s
    steps_s = (clip.n_tokens + 1) * step_s(device, shape, costs, clip.audio_s)
    return CLIP_S + features_s + encoder_s(device, shape, costs, clip.audio_s) + steps_s


def _encoded_s(costs: VariantCosts, audio_s: float) -> float:
    return min(audio_s + MARGIN_S, WINDOW_S) if costs.is_elastic else WINDOW_S


def _n_positions(costs: VariantCosts, audio_s: float) -> int:
    return round(_encoded_s(costs, audio_s) * POSITIONS_PER_S)


def _n_states(costs: VariantCosts, audio_s: float) -> int:
    return min(_n_positions(costs, audio_s) + PADDING_KEYS, WINDOW_POSITIONS)


LIBRARIES_BYTES = 190e6
"""Python with NumPy, OpenVINO and the audio libraries, file pages included, and what reading audio takes."""

INT8_COPIES, FLOAT_COPIES = 1.6, 2.05
"""Weights as the kernels want them, and the graphs that they were compiled from."""

FLOAT_BYTES = 2
"""Of the smallest weight that is no integer."""

ENCODER_BUFFER_BYTES = 42
"""Of the encoder, for each state and channel of the longest window."""

KERNEL_BYTES = {MemoryUse.NORMAL: 94e6, MemoryUse.LOW: 40e6}
"""Compiled kernels of all lengths; layers share them."""


SPEED = {MemoryUse.NORMAL: 1.0, MemoryUse.LOW: 0.94}
"""Of little memory, by that of the usual: base, 40 clips (docs/benchmarks.md)."""


def memory_bytes(shape: WhisperShape, costs: VariantCosts, use: MemoryUse) -> int:
    """Predict the most memory that a process has taken after clips of all lengths up to 30 s."""
    states = WINDOW_POSITIONS * shape.d_model
    buffers = (ENCODER_BUFFER_BYTES + STATE_BYTES * 2 * shape.decoder_layers) * states
    kernels = KERNEL_BYTES[use] if costs.is_elastic else 0
    copies = INT8_COPIES if costs.decoder_bytes < FLOAT_BYTES else FLOAT_COPIES
    return int(LIBRARIES_BYTES + copies * disk_bytes(shape, costs) + buffers + kernels)


def disk_bytes(shape: WhisperShape, costs: VariantCosts) -> int:
    """Return the size of a variant's weights on disk."""
    n_tables = 1 if costs.layout is Layout.STATEFUL else 2
    n_decoder = n_tables * (shape.step_weights + shape.table_weights) + shape.cross_weights
    return int(costs.encoder_bytes * shape.encoder_weights + costs.decoder_bytes * n_decoder)


START_FRAMES = 150_000
"""Starting Python and importing the libraries, in frames of log-mel features, which also are Python's and NumPy's work."""

COMPILED_BYTES_PER_S = 5e8

FIRST_ELASTIC_CLIP, FIRST_CLIP = 3.0, 1.2
"""Time of the first clip, by that of one whose length the process has met; of windows of 30 s all are of the same length."""


def first_transcript_s(device: Device, shape: WhisperShape, costs: VariantCosts) -> float:
    """Predict the seconds from starting a process to its first transcript, with files that the disk has to read."""
    n_bytes = disk_bytes(shape, costs)
    reading_s = 0.0 if device.disk_bytes_per_s is None else n_bytes / device.disk_bytes_per_s
    compiling_s = n_bytes / COMPILED_BYTES_PER_S
    return (
        START_FRAMES * device.frame_s
        + reading_s
        + compiling_s
        + (FIRST_ELASTIC_CLIP if costs.is_elastic else FIRST_CLIP) * clip_s(device, shape, costs, USUAL_CLIP)
    )


def rtfx(device: Device, shape: WhisperShape, costs: VariantCosts, clips: Sequence[Clip]) -> float:
    """Predict the seconds of audio that are transcribed in a second."""
    return sum(clip.audio_s for clip in clips) / sum(clip_s(device, shape, costs, clip) for clip in clips)


def predict(
    device: Device, model: str, shape: WhisperShape, costs: VariantCosts, use: MemoryUse
) -> Prediction:
    """Predict what a variant does on a device with usual clips."""
    return Prediction(
        model=model,
        recipe=costs.name,
        memory_use=use,
        rtfx=round(SPEED[use] * rtfx(device, shape, costs, (USUAL_CLIP,)), 1),
        first_transcript_s=round(first_transcript_s(device, shape, costs), 2),
        memory_bytes=memory_bytes(shape, costs, use),
        disk_bytes=disk_bytes(shape, costs),
    )
