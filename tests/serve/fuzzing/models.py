"""Versions of several signatures for the fuzzers to call, none of which fails for inputs that its signature admits."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np

from model_store.datatypes import DTYPES
from model_store.manifest import PAYLOAD, Manifest, Signature, TensorSpec
from serve.dispatcher import Dispatcher
from serve.executors.inline import InlineExecutor
from serve.inference import Payload, Tensors
from serve.lanes import LoadedVersion
from serve.payloads import answers_to_tensors, requests_of
from serve.router import Router
from serve.routing import ModelRoute, RoutingTable, ServeOptions, VersionEntry
from serve.runtimes.base import Runtime
from serve.runtimes.processing import ProcessingRuntime
from tests.serve.served_models import colours, echo, people
from tests.serve.tiny_versions import FunctionRuntime, double, manifest

ALL_KINDS = tuple(TensorSpec(datatype.lower(), datatype, (-1, 2)) for datatype in DTYPES)
"""An input of each datatype."""
UNAVAILABLE = {"broken": "its source is damaged"}


def _renamed(specs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
    return tuple(msgspec.structs.replace(spec, name=f"{spec.name}_out") for spec in specs)


def _same(name: str, *inputs: TensorSpec, row_independent: bool = True) -> Manifest:
    """A version whose outputs are its inputs."""
    return manifest(name, inputs=inputs, outputs=_renamed(inputs), row_independent=row_independent)


def _repeat(inputs: Tensors) -> Tensors:
    return {f"{name}_out": tensor for name, tensor in inputs.items()}


def _add_up(inputs: Tensors) -> Tensors:
    with np.errstate(all="ignore"):
        return {"sum": inputs["age"].astype(np.float32) + inputs["income"], "text": inputs["city"]}


def _double(inputs: Tensors) -> Tensors:
    with np.errstate(all="ignore"):
        return double(inputs)


def _scores(inputs: Tensors) -> Tensors:
    """The means of the channels."""
    (pixels,) = inputs.values()
    with np.errstate(all="ignore"):
        return {"prob": pixels.mean(axis=(2, 3), dtype=np.float32)}


def _say_again(inputs: Tensors) -> Tensors:
    """As a handler that answers with what it got, the content type and headers of its own among it."""
    return answers_to_tensors(
        [
            Payload(
                payload.body or b"|".join(payload.fields.values()),
                payload.content_type,
                headers={name: value for name, value in payload.headers.items() if name.startswith("x-")},
            )
            for payload in requests_of(inputs)
        ]
    )


def _two_ways() -> Manifest:
    """`double`, version 3, with a second signature."""
    version = manifest(version=3)
    other = Signature((TensorSpec("ids", "INT64", (-1,)),), (TensorSpec("ids_out", "INT64", (-1,)),))
    return msgspec.structs.replace(version, signatures={**version.signatures, "other": other})


def _either(inputs: Tensors) -> Tensors:
    return _double(inputs) if "x" in inputs else _repeat(inputs)


VERSIONS: list[tuple[Manifest, Callable[[Tensors], Tensors]]] = [
    (_two_ways(), _either),
    (people(), _add_up),
    (colours(), _scores),
    (echo(), _say_again),
    (_same("kinds", *ALL_KINDS), _repeat),
    (_same("fixed", TensorSpec("v", "FP32", (3,)), TensorSpec("n", "INT64", ()), row_independent=False), _repeat),
    (_same("ragged", TensorSpec("f", "FP32", (-1, -1)), TensorSpec("s", "BYTES", (-1, -1))), _repeat),
    (_same("text", TensorSpec("t", "BYTES", (-1,))), _repeat),
    (_same("cached", TensorSpec("x", "FP32", (-1, 2))), _repeat),
]


def make_dispatcher() -> Dispatcher:
    """A dispatcher that holds them all; to be called on the event loop."""
    entries = tuple(
        VersionEntry(version, ServeOptions("inline", cache_mib=1 if version.name == "cached" else 0))
        for version, _ in VERSIONS
    )
    routes = {
        name: ModelRoute(((number, 100),), {"stable": number}, {"1.0": number})
        for name, number in (entry.key for entry in entries)
    }
    dispatcher = Dispatcher(Router(RoutingTable(1, "./store", entries, routes, UNAVAILABLE)))
    for entry, (version, function) in zip(entries, VERSIONS, strict=True):
        dispatcher.loaded[entry.key] = LoadedVersion(entry, InlineExecutor(_runtime(version, function), on_loop=True))
    return dispatcher


def _runtime(version: Manifest, function: Callable[[Tensors], Tensors]) -> Runtime:
    runtime = FunctionRuntime(function)
    return runtime if version.default_signature == PAYLOAD else ProcessingRuntime(runtime, version, threads=1)
