"""The field's terms as enumerations: what recipes, manifests and the runtime call things.

Nothing else is in here, so that a device can import it in no time.
"""

from enum import StrEnum


class Component(StrEnum):
    """The parts of a Whisper that are exported, quantized and timed apart."""

    ENCODER = "encoder"
    DECODER = "decoder"
    DECODER_WITH_PAST = "decoder_with_past"


class Layout(StrEnum):
    """How the decoder keeps what it has computed.

    stateless: two decoders, the second takes and returns the keys and values.
    stateful: one decoder that keeps them inside; what openvino-genai wants.
    """

    STATELESS = "stateless"
    STATEFUL = "stateful"


class Weights(StrEnum):
    """The type of float weights on disk."""

    FP32 = "fp32"
    FP16 = "fp16"


class Scheme(StrEnum):
    """How a component is quantized.

    float: not at all.
    w8a8: weights and activations in INT8, ranges from calibration.
    w8: weights in INT8, activations float.
    """

    FLOAT = "float"
    W8A8 = "w8a8"
    W8 = "w8"


class Preset(StrEnum):
    """Which activations are asymmetric (`nncf.QuantizationPreset`)."""

    PERFORMANCE = "performance"
    MIXED = "mixed"


class InferencePrecision(StrEnum):
    """What float nodes compute in (`INFERENCE_PRECISION_HINT`)."""

    F32 = "f32"
    BF16 = "bf16"
    F16 = "f16"
