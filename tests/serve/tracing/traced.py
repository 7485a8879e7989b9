"""An endpoint of this process whose requests are traced: both front doors over one dispatcher, and a real collector."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import numpy as np

from serve.access_log import AccessLog
from serve.dialects.registry import grpc_services, http_dialects
from serve.dispatcher import Dispatcher
from serve.front_doors.grpc import GrpcFrontDoor
from serve.front_doors.http import HttpFrontDoor
from serve.front_doors.http_listener import HttpListener
from serve.metrics.requests import RequestCounter
from serve.protocols import open_inference as messages
from serve.tracing.exporting import Exporting
from serve.tracing.settings import TracingSettings
from serve.tracing.tracer import Tracer

MAX_BODY_BYTES = 1_000_000
INFER = "/v2/models/double/infer"


class Endpoint:
    """Where it listens, and what traces it."""

    def __init__(self, http_port: int, grpc_port: int, tracer: Tracer | None, traces: Exporting | None) -> None:
        self.url = f"http://127.0.0.1:{http_port}"
        self.grpc = f"127.0.0.1:{grpc_port}"
        self.tracer = tracer
        self.traces = traces

    async def flush(self) -> None:
        """Sends what is there, the slowest included."""
        assert self.traces is not None
        await asyncio.to_thread(self.traces.close)


@asynccontextmanager
async def endpoint(
    dispatcher: Dispatcher,
    port: int,
    settings: TracingSettings | None = None,
    access_log: AccessLog | None = None,
    max_requests: int | None = None,
) -> AsyncIterator[Endpoint]:
    """As a gateway sets it up; with `settings` requests are traced."""
    counter = RequestCounter()
    tracer, traces = None, None
    if settings is not None:
        tracer = Tracer(settings.sample, settings.slow_ms)
        counter.on_end = tracer.note
        traces = Exporting(tracer, settings)
        traces.start()
    door = HttpFrontDoor(
        http_dialects("torchserve"),
        dispatcher.answer,
        MAX_BODY_BYTES,
        recorder=counter,
        tracer=tracer,
        tells_ids=access_log is not None,
    )
    listener = HttpListener(door, "127.0.0.1", port, access_log=access_log)
    listener.start()
    grpc = GrpcFrontDoor(
        grpc_services(),
        dispatcher.answer,
        max_requests=max_requests,
        recorder=counter,
        tracer=tracer,
        access_log=access_log,
    )
    (grpc_port,) = await grpc.start(["127.0.0.1:0"])
    try:
        yield Endpoint(port, grpc_port, tracer, traces)
    finally:
        await listener.stop()
        await grpc.stop(1)
        if traces is not None:
            await asyncio.to_thread(traces.close)


def settings_for(url: str, sample: float = 0.0, slow_ms: float | None = None) -> TracingSettings:
    """Traces to the collector at `url`."""
    return TracingSettings(f"{url}/v1/traces", sample, slow_ms, {}, {"service.name": "onegate"})


def body(rows: int = 1) -> bytes:
    """A request for `double` as JSON."""
    tensor = {"name": "x", "shape": [rows, 2], "datatype": "FP32", "data": [1.5] * (2 * rows)}
    return json.dumps({"inputs": [tensor]}).encode()


async def ask(at: Endpoint, path: str = INFER, data: bytes | None = None, **headers: str) -> tuple[int, dict[str, str]]:
    """Status and headers of the answer."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with (
        aiohttp.ClientSession() as session,
        session.post(at.url + path, data=body() if data is None else data, headers=named) as answer,
    ):
        await answer.read()
        return answer.status, {name.lower(): value for name, value in answer.headers.items()}


def message(model: str = "double") -> bytes:
    """The same as a message of gRPC."""
    asked = messages.ModelInferRequest(model_name=model)
    asked.inputs.add(name="x", datatype="FP32", shape=[1, 2])
    asked.raw_input_contents.append(np.array([[1.5, -2]], np.float32).tobytes())
    return bytes(asked.SerializeToString())
