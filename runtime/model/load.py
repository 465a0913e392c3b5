"""Load encoders and decoders in the library of their format."""

from collections.abc import Sequence
from pathlib import Path

from sottovoce.runtime.model.base import Decoder, DecoderModel, EncoderGraph, EncoderModel
from sottovoce.runtime.model.compute import ComputeSpec
from sottovoce.runtime.model.layout import component_path, format_of, layout_of
from sottovoce.runtime.model.onnx.session import OnnxDecoderModel, OnnxEncoderModel
from sottovoce.runtime.model.openvino.decoder import StatefulDecoderModel, StatelessDecoderModel
from sottovoce.runtime.model.openvino.encoder import OpenVinoEncoderModel
from sottovoce.runtime.model.openvino.memory import GraphFile
from sottovoce.terms import Component, Format, Layout


def load_encoder_model(folder: Path, compute: ComputeSpec) -> EncoderModel:
    """Load a variant's encoder."""
    path = component_path(folder, Component.ENCODER)
    if format_of(folder) is Format.ONNX:
        return OnnxEncoderModel(path, compute)
    return OpenVinoEncoderModel(GraphFile(path), compute)


def load_encoder_graph(folder: Path, compute: ComputeSpec) -> EncoderGraph:
    """Load a variant's encoder for one stream."""
    return load_encoder_model(folder, compute).session()


def load_decoder_model(folder: Path, compute: ComputeSpec) -> DecoderModel:
    """Load a variant's decoder."""
    if format_of(folder) is Format.ONNX:
        return OnnxDecoderModel(folder, compute)
    parts = [Component.DECODER]
    if layout_of(folder) is Layout.STATELESS:
        parts.append(Component.DECODER_WITH_PAST)
    return compile_decoder([component_path(folder, part) for part in parts], compute)


def load_decoder(folder: Path, compute: ComputeSpec) -> Decoder:
    """Load a variant's decoder for one stream."""
    return load_decoder_model(folder, compute).session()


def compile_decoder(paths: Sequence[Path], compute: ComputeSpec) -> DecoderModel:
    """Compile OpenVINO graphs: one of a stateful decoder, or a first pass and a decoder with past."""
    files = [GraphFile(path) for path in paths]
    return (
        StatefulDecoderModel(files[0], compute) if len(files) == 1 else StatelessDecoderModel(files, compute)
    )
