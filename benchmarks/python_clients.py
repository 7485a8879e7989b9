"""`python -m benchmarks.python_clients`: what a call costs the caller, with onegate's client and with others.

All ask the same endpoint, a process of its own with a model that gives back its input, from one thread on one
connection, one call after the other. `bare` has its bytes ready and looks at nothing of the answer but its length:
nobody can be faster with that library. Rounds alternate between all; ratios are taken within a round.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection

import click
import numpy as np
import uvloop

from benchmarks.machine import describe_machine
from model_store.manifest import Manifest, Signature, TensorSpec
from serve.client import AsyncClient, Client
from serve.dialects.registry import grpc_services, http_dialects
from serve.dispatcher import Dispatcher
from serve.executors.inline import InlineExecutor
from serve.front_doors.grpc import GrpcFrontDoor
from serve.front_doors.http import HttpFrontDoor
from serve.front_doors.http_listener import HttpListener
from serve.inference import Tensors
from serve.lanes import LoadedVersion
from serve.router import Router
from serve.routing import ModelRoute, RoutingTable, ServeOptions, VersionEntry

LARGEST = 64 << 20
LOADS = {"64 bytes": ((1, 16), 300), "4.8 MB": ((8, 3, 224, 224), 20)}
"""Shapes of FP32, and how many calls are one measurement."""

Calls = Callable[[int], object]
"""Makes so many calls, one after the other, and returns the last answer."""


class Same:
    """The runtime."""

    def run(self, inputs: Tensors, signature: str | None = None) -> Tensors:
        """The input as the output."""
        return {"y": inputs["x"]}


def described(name: str, shape: tuple[int, ...]) -> VersionEntry:
    """A version that takes and gives any number of rows of `shape`."""
    x, y = (TensorSpec(tensor, "FP32", (-1, *shape[1:])) for tensor in "xy")
    manifest = Manifest(
        name=name,
        version=1,
        key="",
        created="",
        framework="onnx",
        source_digest="",
        source_name="",
        runtime="onnx",
        files={},
        signatures={"serving_default": Signature((x,), (y,))},
        row_independent=True,
    )
    return VersionEntry(manifest, ServeOptions("inline"))


async def listen(ready: Connection) -> None:
    """Serves for ever; tells `ready` the ports."""
    entries = tuple(described(f"same{index}", shape) for index, (shape, _) in enumerate(LOADS.values()))
    routes = {each.key[0]: ModelRoute(((1, 100),)) for each in entries}
    dispatcher = Dispatcher(Router(RoutingTable(1, "", entries, routes)))
    for each in entries:
        dispatcher.loaded[each.key] = LoadedVersion(each, InlineExecutor(Same(), on_loop=True))
    front = HttpFrontDoor(http_dialects("torchserve"), dispatcher.answer, LARGEST)
    http_port = HttpListener(front, "127.0.0.1", 0).start()
    door = GrpcFrontDoor(grpc_services(), dispatcher.answer, max_message_bytes=LARGEST)
    (grpc_port,) = await door.start(["127.0.0.1:0"])
    ready.send((http_port, grpc_port))
    await asyncio.Event().wait()


def serve(ready: Connection) -> None:
    """The process of the endpoint."""
    uvloop.run(listen(ready))


@contextmanager
def endpoint() -> Iterator[tuple[str, str]]:
    """Addresses of the HTTP and of the gRPC port."""
    here, there = multiprocessing.Pipe()
    child = multiprocessing.get_context("spawn").Process(target=serve, args=(there,), daemon=True)
    child.start()
    there.close()
    http_port, grpc_port = here.recv()
    try:
        yield f"127.0.0.1:{http_port}", f"127.0.0.1:{grpc_port}"
    finally:
        child.terminate()
        child.join()


def http_callers(address: str, model: str, x: np.ndarray, stack: ExitStack) -> dict[str, Calls]:
    """The clients over HTTP."""
    import tritonclient.http as triton

    client = stack.enter_context(Client(f"http://{address}"))
    other = stack.enter_context(triton.InferenceServerClient(address))
    connection = http.client.HTTPConnection(address)
    stack.callback(connection.close)
    described = {"name": "x", "shape": x.shape, "datatype": "FP32", "parameters": {"binary_data_size": x.nbytes}}
    header = json.dumps({"inputs": [described], "parameters": {"binary_data_output": True}}).encode()
    headers = {"Inference-Header-Content-Length": str(len(header))}
    body = header + x.tobytes()
    loop = stack.enter_context(asyncio.Runner(loop_factory=uvloop.new_event_loop))
    waiting = AsyncClient(f"http://{address}")
    stack.callback(lambda: loop.run(waiting.close()))

    def bare() -> int:
        connection.request("POST", f"/v2/models/{model}/infer", body, headers)
        return len(connection.getresponse().read())

    def tritons() -> np.ndarray:
        given = triton.InferInput("x", x.shape, "FP32")
        given.set_data_from_numpy(x)
        return other.infer(model, [given]).as_numpy("y")

    async def awaited(calls: int) -> np.ndarray:
        for _ in range(calls):
            outputs = await waiting.infer(model, {"x": x})
        return outputs["y"]

    return {
        "bare http.client": repeated(bare),
        "Client": repeated(lambda: client.infer(model, {"x": x})["y"]),
        "AsyncClient on uvloop": lambda calls: loop.run(awaited(calls)),
        "tritonclient.http": repeated(tritons),
    }


def grpc_callers(address: str, model: str, x: np.ndarray, stack: ExitStack) -> dict[str, Calls]:
    """The clients over gRPC."""
    import grpc
    import tritonclient.grpc as triton

    from serve.dialects.open_inference_grpc import encode_request
    from serve.protocols.open_inference import SERVICE

    client = stack.enter_context(Client(f"grpc://{address}"))
    other = stack.enter_context(triton.InferenceServerClient(address))
    unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    channel = stack.enter_context(grpc.insecure_channel(address, options=unlimited))
    infer = channel.unary_unary(f"/{SERVICE}/ModelInfer")
    message = encode_request(model, "", {"x": x}).SerializeToString()

    def tritons() -> np.ndarray:
        given = triton.InferInput("x", list(x.shape), "FP32")
        given.set_data_from_numpy(x)
        return other.infer(model, [given]).as_numpy("y")

    return {
        "bare grpcio": repeated(lambda: len(infer(message))),
        "Client": repeated(lambda: client.infer(model, {"x": x})["y"]),
        "tritonclient.grpc": repeated(tritons),
    }


def repeated(call: Callable[[], object]) -> Calls:
    """Many of one call."""

    def several(calls: int) -> object:
        for _ in range(calls - 1):
            call()
        return call()

    return several


def measure(contestant: Calls, calls: int) -> float:
    """Microseconds a call."""
    begin = time.perf_counter()
    contestant(calls)
    return (time.perf_counter() - begin) / calls * 1e6


def check(name: str, answer: object, x: np.ndarray) -> None:
    """Raises where an answer is not the input."""
    if isinstance(answer, np.ndarray) and not np.array_equal(answer, x):
        raise click.ClickException(f"{name} gave another answer")


@click.command()
@click.option("--rounds", default=7, show_default=True)
def main(rounds: int) -> None:
    """Prints medians over the rounds, and how many times the bare library's time they are."""
    click.echo(describe_machine())
    with endpoint() as (http_address, grpc_address):
        for index, (name, (shape, calls)) in enumerate(LOADS.items()):
            x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
            for callers, address in ((http_callers, http_address), (grpc_callers, grpc_address)):
                with ExitStack() as stack:
                    contestants = callers(address, f"same{index}", x, stack)
                    for each, contestant in contestants.items():
                        check(each, contestant(calls), x)
                    measured = [{each: measure(c, calls) for each, c in contestants.items()} for _ in range(rounds)]
                bare = next(iter(contestants))
                for each in contestants:
                    median = statistics.median(row[each] for row in measured)
                    ratio = statistics.median(row[each] / row[bare] for row in measured)
                    click.echo(f"{name:9} {each:22} {median:8.0f} us a call, {ratio:.2f} times {bare}")


if __name__ == "__main__":
    main()
