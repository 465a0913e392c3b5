"""Quantize one block of a model and leave the others float."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sottovoce.calibrate.store import CalibrationStore
from sottovoce.optimize.openvino.elastic import make_elastic, save_padding_states
from sottovoce.optimize.openvino.int8_cross_attention_cache import cache_int8_cross_attention
from sottovoce.optimize.openvino.padding_states import padding_keys_of, padding_of
from sottovoce.optimize.openvino.quantize import calls_of
from sottovoce.optimize.openvino.quantize_graph import quantize_graph
from sottovoce.optimize.sensitivity.blocks import ModelBlock, alone, check_alone, find_blocks
from sottovoce.optimize.sensitivity.model_files import ModelFiles
from sottovoce.progress import Silent
from sottovoce.recipes.recipe import QuantizedVariant
from sottovoce.reference_pipeline import quiet_libraries, quiet_output
from sottovoce.runtime.model.layout import COMPONENT_FILES, component_path, components_of
from sottovoce.runtime.model.openvino.quiet_import import shared_core
from sottovoce.terms import Component, Layout, Scheme


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockQuantizer:
    """Quantizes single blocks of a float variant by a recipe.

    Attributes:
        source: folder of the float32 variant that the recipe quantizes.
        work: folder for graphs, one block at a time.
    """

    source: Path
    variant: QuantizedVariant
    store: CalibrationStore
    work: Path

    def blocks(self) -> tuple[ModelBlock, ...]:
        """Find the blocks that the recipe quantizes.

        Raises:
            StageError: a weight belongs to no block.
        """
        return tuple(
            block
            for component in components_of(self.source)
            if self.variant.components.of(component).scheme is not Scheme.FLOAT
            for block in find_blocks(self._read(component), component, self.variant.components.of(component))
        )

    def reference(self) -> ModelFiles:
        """Return the float model; its encoder is elastic where the recipe's is."""
        files = ModelFiles.of(self.source)
        if self.variant.elastic is None:
            return files
        folder = self.work / "reference"
        folder.mkdir()
        self._write(self._read(Component.ENCODER), Component.ENCODER, folder)
        return replace(files, encoder=folder)

    @contextmanager
    def quantized(self, block: ModelBlock, reference: ModelFiles) -> Iterator[ModelFiles]:
        """Yield a model with one block quantized; its files are removed afterwards.

        Raises:
            StageError: other weights than the block's are quantized.
        """
        with TemporaryDirectory(dir=self.work, prefix="block-", ignore_cleanup_errors=True) as folder:
            graph = self._quantize(block)
            if block.component is Component.ENCODER:
                self._write(graph, block.component, Path(folder))
                yield replace(reference, encoder=Path(folder))
            else:
                yield replace(reference, decoders=self._write_decoders(graph, block.component, Path(folder)))

    def _quantize(self, block: ModelBlock) -> Any:
        model = self._read(block.component)
        spec = alone(model, block, self.variant.components.of(block.component))
        calls = calls_of(self.store, block.component, self.variant, self.source)
        with quiet_libraries(), quiet_output():
            graph = quantize_graph(model, calls, spec, self.variant.instruction_set, lambda: None)
        check_alone(block, graph)
        return graph

    def _read(self, component: Component) -> Any:
        model = shared_core().read_model(component_path(self.source, component))
        if component is Component.ENCODER and self.variant.elastic is not None:
            n_keys = self.variant.elastic.silence_centroids
            make_elastic(model, padding_keys_of(self.source, self.store, n_keys, Silent()))
        return model

    def _write(self, graph: Any, component: Component, folder: Path) -> Path:
        import openvino

        path = folder / f"{COMPONENT_FILES[component]}.xml"
        openvino.save_model(graph, path, compress_to_fp16=False)
        if component is Component.ENCODER and self.variant.elastic is not None:
            save_padding_states(folder, self.variant.elastic, padding_of(self.source, self.store))
        return path

    def _write_decoders(self, graph: Any, component: Component, folder: Path) -> tuple[Path, ...]:
        """Write the decoder with the block, and the other one where cross-attention's keys are cached in INT8."""
        paths = {
            part: component_path(self.source, part)
            for part in components_of(self.source)
            if part is not Component.ENCODER
        }
        graphs = {component: graph}
        if component is Component.DECODER_WITH_PAST and self._has_int8_cross_keys:
            first = self._read(Component.DECODER)
            if cache_int8_cross_attention(first, graph):
                graphs[Component.DECODER] = first
        written = {part: self._write(each, part, folder) for part, each in graphs.items()}
        return tuple((paths | written).values())

    @property
    def _has_int8_cross_keys(self) -> bool:
        return self.variant.int8_cross_keys and self.variant.layout is Layout.STATELESS
