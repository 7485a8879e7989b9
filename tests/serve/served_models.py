"""An endpoint on a real socket with every HTTP dialect and one small model of each kind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import numpy as np

from model_store.manifest import PAYLOAD, PAYLOAD_SIGNATURE, ImageProcessor, Manifest, TensorSpec
from serve.dialects.base import HttpDialect
from serve.dispatcher import Dispatcher
from serve.executors.inline import build_inline_executor
from serve.front_doors.http import HttpFrontDoor
from serve.front_doors.http_listener import HttpListener
from serve.inference import Payload, Tensors
from serve.lanes import LoadedVersion
from serve.payloads import answers_to_tensors, requests_of
from serve.router import Router
from serve.routing import ModelRoute, RoutingTable, ServeOptions, VersionEntry
from serve.runtimes.base import Runtime, load_runtime
from serve.runtimes.processing import ProcessingRuntime
from tests.serve.pictures import LABELS, described, mean_colour
from tests.serve.tiny_versions import FunctionRuntime, double, manifest

PEOPLE = (
    TensorSpec("age", "INT64", (-1, 1)),
    TensorSpec("city", "BYTES", (-1, 1)),
    TensorSpec("income", "FP32", (-1, 1)),
)


def colours() -> Manifest:
    """Takes [3, 2, 2] pictures and tells their likeliest colours."""
    return msgspec.structs.replace(described(ImageProcessor(scale=1 / 255, top=1), labels=LABELS), name="colours")


def people() -> Manifest:
    """Takes a column an input; its `text` repeats the city."""
    outputs = (TensorSpec("sum", "FP32", (-1, 1)), TensorSpec("text", "BYTES", (-1, 1)))
    return manifest("people", inputs=PEOPLE, outputs=outputs)


def echo() -> Manifest:
    """A handler that answers with what it got."""
    version = manifest("echo")
    return msgspec.structs.replace(version, signatures={PAYLOAD: PAYLOAD_SIGNATURE}, default_signature=PAYLOAD)


def _add_up(inputs: Tensors) -> Tensors:
    return {"sum": inputs["age"].astype(np.float32) + inputs["income"], "text": inputs["city"]}


def _echo(inputs: Tensors) -> Tensors:
    return answers_to_tensors([_repeated(payload) for payload in requests_of(inputs)])


def _repeated(payload: Payload) -> Payload:
    body = payload.body or b"|".join(payload.fields.values())
    return Payload(body, payload.content_type, headers={"x-own": "1"}, status=202)


@asynccontextmanager
async def serving(
    folder: Path, port: int, dialects: Iterable[HttpDialect], max_body_bytes: int = 1_000_000
) -> AsyncIterator[Dispatcher]:
    """The models `double`, `people`, `colours` and `echo`, each with the label `stable`, and `broken`, which failed."""
    mean_colour(folder)
    runtimes: list[tuple[Manifest, Runtime]] = [
        (manifest(), ProcessingRuntime(FunctionRuntime(double), manifest(), threads=1)),
        (people(), ProcessingRuntime(FunctionRuntime(_add_up), people(), threads=1)),
        (colours(), load_runtime(folder, colours(), threads=1)),
        (echo(), FunctionRuntime(_echo)),
    ]
    entries = tuple(VersionEntry(version, ServeOptions("inline")) for version, _ in runtimes)
    routes = {version.name: ModelRoute(((1, 100),), {"stable": 1}, {"1.0": 1}) for version, _ in runtimes}
    table = RoutingTable(1, "./store", entries, routes, {"broken": "its source is damaged"})
    dispatcher = Dispatcher(Router(table))
    for entry, (version, runtime) in zip(entries, runtimes, strict=True):
        dispatcher.loaded[entry.key] = LoadedVersion(entry, build_inline_executor(runtime, version, max_batch_size=4))
    listener = HttpListener(HttpFrontDoor(dialects, dispatcher.answer, max_body_bytes), "127.0.0.1", port)
    listener.start()
    try:
        yield dispatcher
    finally:
        await listener.stop()
        for loaded in dispatcher.loaded.values():
            await loaded.executor.close()
