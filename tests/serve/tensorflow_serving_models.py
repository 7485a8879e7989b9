"""A dispatcher with one small model of each kind that TensorFlow Serving's protocol makes a difference for."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np

from model_store.manifest import Signature, TensorSpec
from serve.dispatcher import Dispatcher
from serve.executors.inline import InlineExecutor
from serve.inference import Tensors
from serve.lanes import LoadedVersion
from serve.router import Router
from serve.routing import ModelRoute, RoutingTable, VersionEntry
from tests.serve.tiny_versions import double, entry

UNAVAILABLE = {"loading": "it is loading; try again shortly", "broken": "its source is damaged"}


class _Runtime:
    """A runtime around a function."""

    def __init__(self, function: Callable[[Tensors], Tensors]) -> None:
        self._function = function

    def run(self, inputs: Tensors, signature: str | None = None) -> Tensors:
        return self._function(inputs)


def tensor(name: str, datatype: str, *row: int) -> TensorSpec:
    return TensorSpec(name, datatype, (-1, *row))


def _pair(inputs: Tensors) -> Tensors:
    return {"sum": inputs["a"] + 1, "flags": inputs["b"] > 0}


def _echo(inputs: Tensors) -> Tensors:
    return {"text": inputs["s"], "raw_bytes": inputs["s"]}


def _named(inputs: Tensors) -> Tensors:
    rows = len(inputs["x"])
    return {
        "classes": np.array([[b"no", b"yes"]] * rows, dtype=object),
        "scores": np.stack([inputs["x"][:, 0], inputs["x"][:, 1]], axis=1),
    }


def _uneven(inputs: Tensors) -> Tensors:
    return {"y": inputs["x"] * 2, "total": inputs["x"].sum(axis=0)}


def _same(inputs: Tensors) -> Tensors:
    return {"y": inputs["x"]}


def _first(inputs: Tensors) -> Tensors:
    return {"y": inputs["x"][:, :1]}


X, Y = tensor("x", "FP32", 2), tensor("y", "FP32", 2)

MODELS: list[tuple[VersionEntry, Callable[[Tensors], Tensors]]] = [
    (entry("double", 3), double),
    (
        entry(
            "pair",
            inputs=[tensor("a", "FP32"), tensor("b", "INT64", 2)],
            outputs=[tensor("sum", "FP32"), tensor("flags", "BOOL", 2)],
        ),
        _pair,
    ),
    (
        entry("echo", inputs=[tensor("s", "BYTES")], outputs=[tensor("text", "BYTES"), tensor("raw_bytes", "BYTES")]),
        _echo,
    ),
    (entry("named", inputs=[X], outputs=[tensor("classes", "BYTES", 2), tensor("scores", "FP32", 2)]), _named),
    (entry("price", inputs=[X], outputs=[tensor("y", "FP32", 1)]), _first),
    (entry("uneven", inputs=[X], outputs=[Y, TensorSpec("total", "FP32", (2,))], row_independent=False), _uneven),
    (entry("half", inputs=[tensor("x", "FP16", 2)], outputs=[tensor("y", "FP16", 2)]), _same),
    (entry("bytes", inputs=[tensor("x", "UINT8", 2)], outputs=[tensor("y", "UINT8", 2)]), _same),
    (entry("scalar", inputs=[TensorSpec("x", "FP64", ())], outputs=[TensorSpec("y", "FP64", ())]), _same),
]


def dispatcher() -> Dispatcher:
    """All of `MODELS`. `double` has the label `stable`, a signature `other`, names of classes; `loading`
    isn't ready and `broken` failed."""
    found = []
    for each, function in MODELS:
        manifest = each.manifest
        if manifest.name == "double":
            signatures = {**manifest.signatures, "other": Signature((X,), (Y,))}
            manifest = msgspec.structs.replace(manifest, signatures=signatures, labels=("cat", "dog"))
        found.append((msgspec.structs.replace(each, manifest=manifest), function))
    routes = {each.key[0]: ModelRoute(((each.key[1], 100),), {"stable": each.key[1]}) for each, _ in found}
    entries = tuple(each for each, _ in found)
    made = Dispatcher(Router(RoutingTable(1, "./store", entries, routes, UNAVAILABLE)))
    for each, function in found:
        made.loaded[each.key] = LoadedVersion(each, InlineExecutor(_Runtime(function), on_loop=True))
    return made
