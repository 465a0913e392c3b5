"""The models of a server, each with its workers."""

import asyncio
import time
from collections.abc import Sequence

from sottovoce.serve.openai.errors import ApiError
from sottovoce.serve.options import ServedModel
from sottovoce.serve.workers.pool import Pool

STANDARD_NAME = "whisper-1"
"""What clients ask for that know OpenAI's models only: the first model."""


class Models:
    """The models by name."""

    def __init__(self, served: Sequence[tuple[ServedModel, Pool]]) -> None:
        self._pools = {model.name: pool for model, pool in served}
        self._created_s = int(time.time())

    @property
    def pools(self) -> tuple[Pool, ...]:
        """The workers of each model."""
        return tuple(self._pools.values())

    @property
    def names(self) -> tuple[str, ...]:
        """Names that a request may give, `whisper-1` last."""
        return (*self._pools, *([] if STANDARD_NAME in self._pools else [STANDARD_NAME]))

    @property
    def is_ready(self) -> bool:
        """Whether each model has a worker."""
        return all(pool.is_ready for pool in self.pools)

    async def open(self) -> None:
        """Wait until each model is loaded.

        Raises:
            ResourceError: one cannot be loaded.
        """
        await asyncio.gather(*(pool.open() for pool in self.pools))

    def close(self) -> None:
        """End the workers."""
        for pool in self.pools:
            pool.close()

    def pool(self, name: str) -> Pool:
        """Return the workers of a model.

        Raises:
            ApiError: there is no such model.
        """
        if name not in self.names:
            known = ", ".join(self.names)
            raise ApiError(
                404,
                f"the model {name:.60} does not exist; here are {known}",
                param="model",
                code="model_not_found",
            )
        return self._pools.get(name) or self.pools[0]

    def fields(self, name: str) -> dict[str, object]:
        """Return a model as OpenAI's API lists it."""
        return {"id": name, "object": "model", "created": self._created_s, "owned_by": "sottovoce"}
