"""Choose the model and the recipe that fit a device."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sottovoce.runtime.model.shape import WhisperShape
from sottovoce.runtime.planning.costs import VariantCosts, recipes_for
from sottovoce.runtime.planning.device import Device
from sottovoce.runtime.planning.predict import Prediction, predict
from sottovoce.terms import MemoryUse

MEMORY_RESERVE = 1.15
"""A prediction of memory may be a seventh too low."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a product needs: the most memory, the least speed."""

    max_memory_bytes: float
    min_rtfx: float


def predict_all(device: Device, shapes: Mapping[str, WhisperShape]) -> tuple[Prediction, ...]:
    """Predict each model with each recipe that works on the device, the best model last."""
    return tuple(
        predict(device, name, shape, costs, use)
        for name, shape in shapes.items()
        for costs in recipes_for(device.host)
        for use in _uses(costs)
    )


def _uses(costs: VariantCosts) -> tuple[MemoryUse, ...]:
    return tuple(MemoryUse) if costs.is_elastic else (MemoryUse.NORMAL,)


def fits(prediction: Prediction, needs: Needs) -> bool:
    """Return whether a prediction meets the needs, with a reserve of memory."""
    has_room = MEMORY_RESERVE * prediction.memory_bytes <= needs.max_memory_bytes
    return has_room and prediction.rtfx >= needs.min_rtfx


def choose(predictions: Sequence[Prediction], needs: Needs) -> Prediction | None:
    """Choose the fastest recipe of the most accurate model that fits; None where nothing does.

    A larger model is more accurate; those of distilled decoders lie between their neighbours in size.
    """
    fitting = [each for each in predictions if fits(each, needs)]
    return max(fitting, key=lambda each: (_accuracy_rank(each.model), each.rtfx), default=None)


ACCURACY = (
    "tiny",
    "base",
    "distil-small.en",
    "small",
    "distil-medium.en",
    "medium",
    "distil-large-v3",
    "large-v3-turbo",
    "large-v2",
    "large-v3",
)
"""From the most word errors to the least, in the published tables of OpenAI and distil-whisper."""


def _accuracy_rank(model: str) -> int:
    return ACCURACY.index(model) if model in ACCURACY else -1
