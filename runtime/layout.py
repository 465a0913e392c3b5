"""The files of a variant's folder."""

from collections.abc import Mapping
from pathlib import Path

from sottovoce.terms import Component, Layout

COMPONENT_FILES: Mapping[Component, str] = {
    Component.ENCODER: "openvino_encoder_model",
    Component.DECODER: "openvino_decoder_model",
    Component.DECODER_WITH_PAST: "openvino_decoder_with_past_model",
}
"""Names that optimum-intel and openvino-genai look for, without `.xml` and `.bin`."""


def component_path(folder: Path, component: Component) -> Path:
    """Return where a component's graph lies in a variant's folder."""
    return folder / f"{COMPONENT_FILES[component]}.xml"


def components_of(folder: Path) -> tuple[Component, ...]:
    """Name the components that a variant's folder holds."""
    return tuple(part for part in Component if component_path(folder, part).is_file())


def layout_of(folder: Path) -> Layout:
    """Tell a variant's layout by its files."""
    return Layout.STATELESS if Component.DECODER_WITH_PAST in components_of(folder) else Layout.STATEFUL
