"""Stands where a version's runtime was until it was unloaded: it runs nothing, so that requests wait in their queue."""

from __future__ import annotations

from typing import Never

import numpy as np

from serve.batches import Join
from serve.inference import Tensors


class ParkedExecutor:
    """The executor of a version that is not loaded now. The queue calls nothing that has no slots."""

    slots = 0
    idle = False
    join: Join = staticmethod(np.concatenate)

    def run(self, inputs: Tensors, deadline: float, signature: str | None = None, *, apart: bool = False) -> Never:
        """Never called."""
        raise AssertionError("an executor without slots was given a batch")

    async def close(self) -> None:
        """Nothing is held."""
