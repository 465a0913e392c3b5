"""The files of a variant's folder."""

from collections.abc import Mapping
from pathlib import Path

from sottovoce.terms import Component, Format, Layout

COMPONENT_FILES: Mapping[Component, str] = {
    Component.ENCODER: "openvino_encoder_model",
    Component.DECODER: "openvino_decoder_model",
    Component.DECODER_WITH_PAST: "openvino_decoder_with_past_model",
}
"""Names that optimum-intel and openvino-genai look for, without `.xml` and `.bin`."""

ONNX_FILES: Mapping[Component, str] = {
    Component.ENCODER: "encoder_model.onnx",
    Component.DECODER: "decoder_model.onnx",
    Component.DECODER_WITH_PAST: "decoder_with_past_model.onnx",
}
"""Names that optimum's ONNX models and transformers.js look for."""

CTRANSLATE2_FILE = "model.bin"
"""Holds all components of a CTranslate2 variant; the name that CTranslate2 looks for."""


def component_path(folder: Path, component: Component) -> Path:
    """Return where a component lies in a variant's folder, in the folder's format."""
    match format_of(folder):
        case Format.OPENVINO:
            return folder / f"{COMPONENT_FILES[component]}.xml"
        case Format.ONNX:
            return onnx_path(folder, component)
        case Format.CTRANSLATE2:
            return folder / CTRANSLATE2_FILE


def onnx_path(folder: Path, component: Component) -> Path:
    """Return where a component's ONNX graph lies, or is to lie, in a variant's folder."""
    return folder / ONNX_FILES[component]


def components_of(folder: Path) -> tuple[Component, ...]:
    """Name the components that a variant's folder holds."""
    if format_of(folder) is Format.CTRANSLATE2:
        return (Component.ENCODER, Component.DECODER)
    return tuple(part for part in Component if component_path(folder, part).is_file())


def format_of(folder: Path) -> Format:
    """Return a variant's format by its files; a folder with no model of another format counts as OpenVINO."""
    if onnx_path(folder, Component.ENCODER).is_file():
        return Format.ONNX
    return Format.CTRANSLATE2 if (folder / CTRANSLATE2_FILE).is_file() else Format.OPENVINO


def layout_of(folder: Path) -> Layout:
    """Return a variant's layout by its files; CTranslate2 keeps keys and values inside, as the stateful one does."""
    return Layout.STATELESS if Component.DECODER_WITH_PAST in components_of(folder) else Layout.STATEFUL
