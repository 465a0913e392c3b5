"""The field's terms as enumerations: what recipes, manifests and the runtime call things.

Nothing else is in here, so that a device can import it in no time.
"""

from enum import StrEnum


class Component(StrEnum):
    """The parts of a Whisper that are exported, quantized and timed apart."""

    ENCODER = "encoder"
    DECODER = "decoder"
    DECODER_WITH_PAST = "decoder_with_past"


class Stage(StrEnum):
    """The parts of a transcription that are timed apart."""

    FEATURES = "features"
    ENCODER = "encoder"
    DECODER = "decoder"
    DECODER_WITH_PAST = "decoder_with_past"
    OTHER = "other"


class Layout(StrEnum):
    """How the decoder keeps what it has computed.

    stateless: two decoders, the second takes and returns the keys and values.
    stateful: one decoder that keeps them inside; what openvino-genai wants.
    """

    STATELESS = "stateless"
    STATEFUL = "stateful"


class Format(StrEnum):
    """The files that a variant's graphs are.

    openvino: OpenVINO IR.
    onnx: ONNX, run by onnxruntime; stateless only.
    ctranslate2: one file of weights, run by CTranslate2 through faster-whisper.
    """

    OPENVINO = "openvino"
    ONNX = "onnx"
    CTRANSLATE2 = "ctranslate2"


class Ctranslate2Type(StrEnum):
    """What CTranslate2 stores weights in.

    int8: weights in INT8, what stays float as the checkpoint has it; int8_float32: in float32.
    int16: weights in INT16, what stays float in float32.
    float16, bfloat16, float32: all weights. A CPU that cannot compute in a type computes in another (docs/how-to).
    """

    INT8 = "int8"
    INT8_FLOAT32 = "int8_float32"
    INT16 = "int16"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    FLOAT32 = "float32"


class Weights(StrEnum):
    """The type of float weights on disk."""

    FP32 = "fp32"
    FP16 = "fp16"


class Scheme(StrEnum):
    """How a component is quantized.

    float: not at all.
    w8a8: weights and activations in INT8, ranges from calibration.
    w8: weights in INT8, activations float.
    w4: weights in INT4 by groups, those of the embedding and the output layer in INT8; activations float.
    """

    FLOAT = "float"
    W8A8 = "w8a8"
    W8 = "w8"
    W4 = "w4"


class Preset(StrEnum):
    """Which activations are asymmetric (`nncf.QuantizationPreset`)."""

    PERFORMANCE = "performance"
    MIXED = "mixed"


class BiasCorrection(StrEnum):
    """How the shift that quantization gives a layer's output is taken back.

    fast: from statistics of each layer alone (Nagel et al. 2019).
    accurate: by running the quantized model layer after layer, which is slow.
    off: not at all.
    """

    FAST = "fast"
    ACCURATE = "accurate"
    OFF = "off"


class RangeEstimator(StrEnum):
    """How a range is taken from recorded values (`nncf.quantization.range_estimator`)."""

    DEFAULT = "default"
    MINMAX = "minmax"
    MEAN_MINMAX = "mean_minmax"
    MEDIAN_MINMAX = "median_minmax"
    MEAN_NO_OUTLIERS_MINMAX = "mean_no_outliers_minmax"
    MEAN_QUANTILE = "mean_quantile"
    HISTOGRAM = "histogram"


class InstructionSet(StrEnum):
    """What the target CPU multiplies INT8 with.

    vnni: AVX-VNNI, AVX512-VNNI or AMX; exact.
    avx2: without them products of two are added in 16 bits and saturate: weights take 7 bits.
    """

    VNNI = "vnni"
    AVX2 = "avx2"


class KvPrecision(StrEnum):
    """What a stateful decoder keeps self-attention's keys and values in (`KV_CACHE_PRECISION`)."""

    F32 = "f32"
    BF16 = "bf16"
    F16 = "f16"
    U8 = "u8"


class InferencePrecision(StrEnum):
    """What float nodes compute in (`INFERENCE_PRECISION_HINT`)."""

    F32 = "f32"
    BF16 = "bf16"
    F16 = "f16"
