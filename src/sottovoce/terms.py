"""The field's terms, and settings that recipes, manifests and the runtime share.

It imports nothing but small parts of the standard library, so that a device loads it quickly.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

RECOMMENDED_RECIPE = "int8-fast"
"""The recipe that commands take where none is named."""

STDIN = "-"
STDIN_NAME = "standard input"
"""How the command line and messages name it."""


class Component(StrEnum):
    """The parts of a Whisper that are exported, quantized and timed separately."""

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
    """How the decoder keeps keys and values.

    stateless: two decoders, the second takes and returns the keys and values.
    stateful: one decoder that keeps them inside, which openvino-genai needs.
    """

    STATELESS = "stateless"
    STATEFUL = "stateful"


class Format(StrEnum):
    """The file format of a variant.

    openvino: OpenVINO IR.
    onnx: ONNX, run by onnxruntime; stateless only.
    ctranslate2: one file of weights, run by CTranslate2 through faster-whisper.
    """

    OPENVINO = "openvino"
    ONNX = "onnx"
    CTRANSLATE2 = "ctranslate2"


class Ctranslate2Type(StrEnum):
    """The types that CTranslate2 stores weights in.

    int8: weights in INT8, others as in the checkpoint; int8_float32: others in float32.
    int16: weights in INT16, others in float32.
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
    """How the error is corrected that quantization adds to the mean of a layer's output.

    fast: from statistics of each layer alone (Nagel et al. 2019).
    accurate: by running the quantized model layer after layer, which is slow.
    off: not at all.
    """

    FAST = "fast"
    ACCURATE = "accurate"
    OFF = "off"


class RangeEstimator(StrEnum):
    """How a range is estimated from recorded values (`nncf.quantization.range_estimator`)."""

    DEFAULT = "default"
    MINMAX = "minmax"
    MEAN_MINMAX = "mean_minmax"
    MEDIAN_MINMAX = "median_minmax"
    MEAN_NO_OUTLIERS_MINMAX = "mean_no_outliers_minmax"
    MEAN_QUANTILE = "mean_quantile"
    HISTOGRAM = "histogram"


class InstructionSet(StrEnum):
    """INT8 instructions of the target CPU.

    vnni: AVX-VNNI, AVX512-VNNI or AMX; exact.
    avx2: sums of two products saturate in 16 bits, so weights take 7 bits.
    """

    VNNI = "vnni"
    AVX2 = "avx2"


class KvPrecision(StrEnum):
    """Type of self-attention's keys and values in a stateful decoder (`KV_CACHE_PRECISION`)."""

    F32 = "f32"
    BF16 = "bf16"
    F16 = "f16"
    U8 = "u8"


class InferencePrecision(StrEnum):
    """Precision of float nodes (`INFERENCE_PRECISION_HINT`)."""

    F32 = "f32"
    BF16 = "bf16"
    F16 = "f16"


class MemoryUse(StrEnum):
    """How a process trades memory for speed when it transcribes.

    low: few encoded lengths, buffers given back after each window, graphs loaded one after another, no batches, no huge pages.
    """

    NORMAL = "normal"
    LOW = "low"


class _Bounds:
    """Bounds that pydantic checks where a recipe holds the field; the runtime itself does not load pydantic."""

    def __init__(self, **bounds: float) -> None:
        self._bounds = bounds

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], dict[str, Any]]) -> Any:
        return {**handler(source), **self._bounds}


@dataclass(frozen=True, slots=True, kw_only=True)
class ElasticSpec:
    """How an elastic encoder cuts a window: encode the speech, append the states that padding would give.

    OpenVINO compiles kernels for each length that it meets and keeps them, 5 to 10 MB each; the buckets keep the
    number of lengths small.
    """

    __pydantic_config__ = {"extra": "forbid", "use_attribute_docstrings": True}  # noqa: RUF012 - of pydantic

    margin_s: Annotated[float, _Bounds(ge=0, le=30)] = 0.5
    """Padding after the speech that is encoded with it, in seconds."""
    tail_s: Annotated[float, _Bounds(ge=0, le=30)] = 10.0
    """Least length of the padding states that are appended to a window decoded alone, in seconds of audio."""
    batch_tail_s: Annotated[float, _Bounds(ge=0, le=30)] = 5.0
    """The same where several windows are decoded together, as in long audio."""
    bucket_s: Annotated[float, _Bounds(gt=0, le=30)] = 1.0
    """Encoded lengths are rounded up to a multiple of this, above 10 s to a multiple of twice this."""
    states_bucket_s: Annotated[float, _Bounds(gt=0, le=30)] = 5.0
    """The number of states for the decoder is rounded up to a multiple of this, with further padding states."""
    silence_centroids: Annotated[int, _Bounds(ge=1, le=255)] | None = None
    """Keys in each of the encoder's layers, and states for the decoder, that stand for all padding that was cut off:
    the decoder attends to all 30 s, and there are no tails. Needs the stateful layout; null gives tails."""


class Condition(StrEnum):
    """A listening condition under which speech is transcribed; `clean` is the speech as it is."""

    CLEAN = "clean"
    LEVEL_MINUS_40 = "level-40"
    LEVEL_MINUS_20 = "level-20"
    LEVEL_PLUS_20 = "level+20"
    SNR_20 = "snr20"
    SNR_10 = "snr10"
    SNR_5 = "snr5"
    TELEPHONE = "telephone"
    REVERBERATION = "reverberation"
    MP3 = "mp3"
    SPEED_09 = "speed0.9"
    SPEED_11 = "speed1.1"
