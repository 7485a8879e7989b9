"""Batch queues with executors that a test watches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from serve.batching import BatchQueue
from serve.inference import Tensors
from serve.routing import Batching
from serve.statistics import VersionStatistics
from tests.serve.tiny_versions import double


class Clock(Protocol):
    now: float

    async def advance(self, seconds: float) -> None: ...

    async def settle(self) -> None: ...


class Recorder:
    """An executor that holds every batch until the test answers or fails it."""

    join = staticmethod(np.concatenate)

    def __init__(self, slots: int = 1, workers: int | None = None) -> None:
        self.slots = slots
        self._workers = workers
        self.batches: list[list[float]] = []
        self.deadlines: list[float] = []
        self._inputs: list[Tensors] = []
        self._futures: list[asyncio.Future[Tensors]] = []

    @property
    def idle(self) -> bool:
        return sum(not future.done() for future in self._futures) < (self._workers or self.slots)

    def run(self, inputs: Tensors, deadline: float) -> asyncio.Future[Tensors]:
        self.batches.append(inputs["x"].ravel().tolist())
        self.deadlines.append(deadline)
        self._inputs.append(inputs)
        self._futures.append(asyncio.get_running_loop().create_future())
        return self._futures[-1]

    def answer(self, index: int = -1) -> None:
        self._futures[index].set_result(double(self._inputs[index]))

    def fail(self, error: Exception, index: int = -1) -> None:
        self._futures[index].set_exception(error)


class OnLoop:
    """An executor that answers at once, or raises what `refuses` returns."""

    slots = 1
    idle = True
    join = staticmethod(np.concatenate)

    def __init__(self, refuses: Callable[[Tensors], Exception | None] = lambda inputs: None) -> None:
        self._refuses = refuses
        self.batches: list[list[float]] = []

    def run(self, inputs: Tensors, deadline: float) -> Tensors:
        self.batches.append(inputs["x"].ravel().tolist())
        if (error := self._refuses(inputs)) is not None:
            raise error
        return double(inputs)


def column(*values: float) -> Tensors:
    return {"x": np.array(values, dtype=np.float32).reshape(-1, 1)}


def queue_of(executor: Any, *, mergeable: bool = True, ragged: bool = False, **batching: Any) -> BatchQueue:
    counted = VersionStatistics("double", "1")
    return BatchQueue(executor, Batching(**batching), counted, mergeable=mergeable, ragged=ragged)


def send(queue: BatchQueue, *values: float, deadline: float = 2000.0) -> asyncio.Task[Tensors]:
    return asyncio.ensure_future(queue.run(column(*values), len(values), deadline))


def values_of(request: asyncio.Task[Tensors]) -> list[float]:
    values: list[float] = request.result()["y"].ravel().tolist()
    return values
