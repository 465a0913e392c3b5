"""The stage `qat`: a run and speech without transcripts in, a variant with trained quantized graphs out.

Quantization-aware training: the numbers of the quantized graphs (weights, ranges, biases, LayerNorms) are trained with
their rounding in place, and the padding states of an elastic variant with them, until the variant gives the probabilities of
the float32 baseline. The graphs stay as they are:
no node is added, so size and speed stay too.

Sources: straight-through estimator (Bengio et al. 2013), learned step size quantization (Esser et al. 2020).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sottovoce.optimize.openvino.export import TorchWhisper
from sottovoce.progress import Reporter
from sottovoce.runs import Run, Variant
from sottovoce.runtime.model.elastic import PaddingStates
from sottovoce.runtime.model.layout import component_path
from sottovoce.runtime.model.openvino.quiet_import import shared_core
from sottovoce.speech.clips import ClipSet
from sottovoce.terms import Component, Format
from sottovoce.train.heal.parameters import Start
from sottovoce.train.loop import LoopSpec
from sottovoce.train.qat.graph import QuantizedGraph, read_graph, write_constants
from sottovoce.train.qat.parameters import Deltas, TrainedGraph
from sottovoce.train.variant.lessons import Lesson
from sottovoce.train.variant.loss import ClipLoss, Examiner
from sottovoce.train.variant.padding import no_padding, put_padding, read_padding
from sottovoce.train.variant.report import QAT_REPORT, Outcome, QatReport, Trained
from sottovoce.train.variant.stage import choose_variant, prepare, train_variant
from sottovoce.train.variant.work import TrainingSpec, Work

SUFFIX = "-qat"

LEARNING_RATE = 0.001
"""Highest; of a weight in steps of its quantizer."""

PADDING = "padding/"
"""Starts the names of differences of padding states."""

PADDING_RATE = 3.0
"""How much faster padding states learn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QatSpec(TrainingSpec):
    """Options of `qat`."""

    trained: Trained = Trained.ALL
    loop: LoopSpec = field(default_factory=lambda: LoopSpec(learning_rate=LEARNING_RATE))


def qat(
    run: Run,
    speech: Sequence[ClipSet],
    spec: QatSpec,
    reporter: Reporter,
    *,
    force: bool = False,
    restart: bool = False,
) -> QatReport:
    """Train the numbers of a run's INT8 variant, or resume an interrupted training.

    Args:
        speech: sets; of those with splits, `train` and `calib` are used.
        force: replace a variant of the same name.
        restart: delete what an interrupted command left.

    Returns:
        The report; the variant is written only where the report says `kept`.

    Raises:
        SpecError: the variant has no INT8 weights in OpenVINO or was trained by `qat` already, or the checkpoint cannot be found.
        InputError: the run has no such variant or no record, the name is taken, or there is too little speech.
        StageError: training fails.
    """
    variant = choose_variant(
        run,
        spec.variant,
        _is_quantized,
        needed="INT8 weights in OpenVINO",
        made_by="int8-fast or int8",
        not_after=(QAT_REPORT,),
    )
    graphs = _read_graphs(variant)
    work = prepare(run, variant, speech, spec, reporter, suffix=SUFFIX, force=force)
    return train_variant(work, _Quantizers(spec, graphs), reporter, force=force, restart=restart)


def _is_quantized(variant: Variant) -> bool:
    """Return whether its weights are INT8, and its padding, if it has any, that of clusters."""
    parts = variant.facts.components
    padding = PaddingStates.load(variant.folder)
    return (
        variant.facts.format is Format.OPENVINO
        and parts[Component.ENCODER].int8_weights > 0
        and not any(part.int4_weights for part in parts.values())
        and (padding is None or padding.clusters is not None)
    )


def _read_graphs(variant: Variant) -> dict[Component, QuantizedGraph]:
    """Read the encoder, and the decoder of the steps where its weights are INT8.

    Raises:
        SpecError: a graph has numbers that do not train.
    """
    parts = variant.facts.components
    decoders = (Component.DECODER_WITH_PAST, Component.DECODER)
    decoder = next((part for part in decoders if part in parts and parts[part].int8_weights), None)
    core = shared_core()
    return {
        part: read_graph(core.read_model(component_path(variant.folder, part)))
        for part in (Component.ENCODER, decoder)
        if part is not None
    }


class _Quantizers:
    """The training of quantized graphs; see `stage.Method`."""

    command = "qat"
    report_name = QAT_REPORT

    def __init__(self, spec: QatSpec, graphs: Mapping[Component, QuantizedGraph]) -> None:
        self._spec = spec
        self._graphs = graphs
        self._n_parameters = 0

    def settings(self) -> Mapping[str, str]:
        """Name what is trained."""
        return {"trained": self._spec.trained}

    def trainable(self, work: Work, reporter: Reporter) -> "TrainableGraphs":
        """Build the checkpoint with the quantizers of the graphs."""
        with reporter.progress("read the checkpoint", 1) as advance:
            model = TorchWhisper(work.checkpoint.folder).model
            found = TrainableGraphs(work.variant.folder, self._graphs, model, self._spec.trained)
            advance()
        self._n_parameters = sum(delta.numel() for delta in found.no_deltas().values())
        return found

    def report(self, outcome: Outcome) -> QatReport:
        """Describe a training of quantized graphs."""
        return QatReport(
            trained=self._spec.trained,
            n_parameters=self._n_parameters,
            learning_rate=self._spec.loop.learning_rate,
            **outcome.facts(),
        )


class TrainableGraphs:
    """The numbers of a variant's quantized graphs; see `trainable.Trainable`."""

    def __init__(
        self, variant: Path, graphs: Mapping[Component, QuantizedGraph], model: Any, trained: Trained
    ) -> None:
        """Put the quantizers of a variant into its checkpoint.

        Args:
            variant: folder of the variant.
            graphs: the encoder, and one decoder at most.
            model: the checkpoint, `transformers.WhisperForConditionalGeneration`; its layers are replaced.
            trained: what is.
        """
        self._variant = variant
        self._graphs = {
            component: TrainedGraph(
                component,
                graph,
                model.model.encoder if component is Component.ENCODER else model.model.decoder,
                trained,
            )
            for component, graph in graphs.items()
        }
        padding, stored = read_padding(variant), PaddingStates.load(variant)
        self._padding = None if padding is None else Start.of(padding)
        self._elastic = None if stored is None else stored.spec
        self._no_padding = no_padding(model.config)
        self._examiner = Examiner.of(model, variant)
        self._current: dict[str, Any] = {}
        for graph in self._graphs.values():
            graph.install(self._current)

    def no_deltas(self) -> Deltas:
        """Return differences of zero."""
        import torch

        found = {
            name: torch.zeros_like(parameter.start, requires_grad=True)
            for graph in self._graphs.values()
            for name, parameter in graph.parameters.items()
        }
        if self._padding is not None:
            found |= {f"{PADDING}{name}": delta for name, delta in self._padding.no_deltas().items()}
        return found

    def examine(self, lesson: Lesson, deltas: Deltas) -> ClipLoss:
        """Compare the variant with a lesson."""
        self._current.update(deltas)
        padding = self._no_padding if self._padding is None else self._padding.moved(_of_padding(deltas))
        return self._examiner.examine(lesson, padding)

    def write(self, deltas: Deltas, into: Path) -> None:
        """Write the graphs that were trained, and the padding states."""
        import openvino

        for component, graph in self._graphs.items():
            path = component_path(self._variant, component)
            model = shared_core().read_model(path)
            write_constants(model, graph.constants(deltas))
            if component is Component.ENCODER and self._padding is not None and self._elastic is not None:
                put_padding(model, self._padding.padding_of(_of_padding(deltas)), self._elastic, into)
            openvino.save_model(model, into / path.name, compress_to_fp16=False)


def _of_padding(deltas: Deltas) -> Deltas:
    """Return the differences of the padding states, in the units of `heal`."""
    return {
        name.removeprefix(PADDING): PADDING_RATE * delta
        for name, delta in deltas.items()
        if name.startswith(PADDING)
    }
