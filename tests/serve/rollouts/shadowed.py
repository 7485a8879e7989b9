"""A model of two versions, of which one gets copies of the other's calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from serve.dispatcher import Dispatcher
from serve.executors.base import ClosableExecutor
from serve.executors.inline import InlineExecutor
from serve.inference import InferenceRequest, Tensors
from serve.lanes import LoadedVersion
from serve.rollouts.comparison import Comparison
from serve.router import Router
from serve.routing import Batching, ModelRoute, RoutingTable
from tests.serve.tiny_versions import FunctionRuntime, entry

PAIR = ("m", 1, 2)


def times(factor: float) -> Callable[[Tensors], Tensors]:
    return lambda inputs: {"y": inputs["x"] * np.float32(factor)}


def inline(function: Callable[[Tensors], Tensors], *, on_loop: bool = True) -> InlineExecutor:
    return InlineExecutor(FunctionRuntime(function), on_loop=on_loop)


def shadowed(
    shadow: ClosableExecutor,
    primary: ClosableExecutor | None = None,
    route: ModelRoute | None = None,
    batching: Batching | None = None,
) -> Dispatcher:
    """The model `m`: version 1 answers with what is twice as much, `shadow` is version 2."""
    entries = entry("m", 1, batching=batching), entry("m", 2, batching=batching)
    route = route or ModelRoute(((1, 100),), {"next": 2}, shadows=((2, 100.0),))
    dispatcher = Dispatcher(Router(RoutingTable(1, "./store", entries, {"m": route})))
    for each, executor in zip(entries, (primary or inline(times(2)), shadow), strict=True):
        dispatcher.loaded[each.key] = LoadedVersion(each, executor)
    return dispatcher


def request(value: float = 1.0, **more: Any) -> InferenceRequest:
    return InferenceRequest("m", inputs={"x": np.full((1, 2), value, np.float32)}, **more)


async def seen(dispatcher: Dispatcher) -> Comparison:
    await dispatcher.observer.shadowing.settled()
    return dispatcher.observer.seen.comparisons[PAIR]


def answered(response: Any) -> list[list[float]]:
    outputs: list[list[float]] = response.outputs["y"].tolist()
    return outputs
