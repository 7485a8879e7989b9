"""Batches that run on another server, over real connections."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import grpc
import ml_dtypes
import msgspec
import numpy as np
import pytest

from model_store.errors import (
    DeadlineExceeded,
    InternalError,
    InvalidInput,
    OnegateError,
    OutOfMemory,
    Overloaded,
)
from model_store.manifest import Signature, TensorSpec
from serve.executors import upstream as upstream_module
from serve.executors.inline import InlineExecutor
from serve.executors.upstream import UpstreamExecutor
from serve.inference import Tensors
from serve.protocols import open_inference as messages
from tests.serve.tiny_versions import FunctionRuntime, GatedExecutor, dispatcher_of, entry
from tests.serve.upstreams.servers import DOUBLED, run, version_of
from tests.serve.waiting import PATIENCE_S, eventually


async def test_a_batch_is_answered_by_another_server(serve: Any, executors: Any) -> None:
    executor = await executors((await serve()).address, max_concurrent=5)
    assert executor.slots == 5
    assert (await run(executor))["y"].tolist() == DOUBLED


@pytest.mark.parametrize(
    ("datatype", "tensor"),
    [
        ("FP16", np.array([[1.5], [-2]], np.float16)),
        ("BF16", np.array([[1.5], [-2]], ml_dtypes.bfloat16)),
        ("INT64", np.array([[2**62], [-1]])),
        ("BOOL", np.array([[True], [False]])),
        ("BYTES", np.array([[b""], [b"\xff\x00gr\xc3\xbcn"]], object)),
        ("FP32", np.arange(8_000_000, dtype=np.float32).reshape(2, -1)),
    ],
)
async def test_tensors_of_each_kind_and_size_travel_there_and_back(
    serve: Any, executors: Any, datatype: str, tensor: np.ndarray
) -> None:
    spec = (TensorSpec("x", datatype, (-1, -1)),)
    echo = FunctionRuntime(lambda inputs: {"y": inputs["x"]})
    outputs = (TensorSpec("y", datatype, (-1, -1)),)
    described = entry(inputs=spec, outputs=outputs)
    server = await serve(dispatcher_of(described, executor=InlineExecutor(echo, on_loop=True)))
    version = version_of(server.address)
    signatures = {"serving_default": Signature(spec, outputs)}
    version = msgspec.structs.replace(
        version, manifest=msgspec.structs.replace(version.manifest, signatures=signatures)
    )
    executor = await executors(entry=version)
    answer = (await run(executor, {"x": tensor}))["y"]
    assert answer.dtype == tensor.dtype
    assert answer.tolist() == tensor.tolist()


async def test_of_two_addresses_one_dies_and_the_other_answers_everything(serve: Any, executors: Any) -> None:
    gates = [GatedExecutor(slots=16), GatedExecutor(slots=16)]
    servers = [await serve(dispatcher_of(entry(), executor=gate)) for gate in gates]
    executor = await executors(*(server.address for server in servers))
    batches = [asyncio.ensure_future(run(executor)) for _ in range(12)]
    await eventually(lambda: all(gate.started for gate in gates) and all(c.in_flight for c in executor._usable))
    await servers[0].stop()
    gates[1].gate.set()
    assert [answer["y"].tolist() for answer in await asyncio.gather(*batches)] == [DOUBLED] * 12
    assert executor.slots == 64
    gates[0].gate.set()
    await servers[0].start()
    async with asyncio.timeout(PATIENCE_S):
        while executor.slots < 128:
            await executor.reconnect()
            await asyncio.sleep(0.05)
    assert (await run(executor))["y"].tolist() == DOUBLED


async def test_an_address_where_nobody_listens_is_left_out(serve: Any, executors: Any, free_port: int) -> None:
    executor = await executors(f"127.0.0.1:{free_port}", (await serve()).address)
    assert executor.slots == 64
    for _ in range(5):
        assert (await run(executor))["y"].tolist() == DOUBLED


async def test_a_server_without_the_model_is_left_out(serve: Any, executors: Any) -> None:
    executor = await executors((await serve(dispatcher_of(entry("another")))).address)
    assert executor.slots == 0
    with pytest.raises(DeadlineExceeded, match=r"^no address of 'double' answered before the deadline$"):
        await run(executor, within_s=0.1)


async def test_a_model_that_is_taken_from_one_server_goes_on_at_the_other(serve: Any, executors: Any) -> None:
    servers = [await serve(), await serve()]
    executor = await executors(*(server.address for server in servers))
    table = servers[0].dispatcher.router.table
    servers[0].dispatcher.router.update(msgspec.structs.replace(table, versions=(), routes={}))
    for _ in range(20):
        assert (await run(executor))["y"].tolist() == DOUBLED
    assert executor.slots == 64


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (InvalidInput, InvalidInput),
        (Overloaded, Overloaded),
        (OutOfMemory, OutOfMemory),
        (InternalError, InternalError),
        (DeadlineExceeded, DeadlineExceeded),
    ],
)
async def test_an_error_keeps_its_kind(
    serve: Any, executors: Any, raised: type[OnegateError], told: type[OnegateError]
) -> None:
    def refuse(inputs: Tensors) -> Tensors:
        raise raised("expected 1, got 2")

    runtime = InlineExecutor(FunctionRuntime(refuse), on_loop=True)
    executor = await executors((await serve(dispatcher_of(entry(), executor=runtime))).address)
    with pytest.raises(OnegateError, match=r"expected 1, got 2$") as refused:
        await run(executor)
    assert type(refused.value) is told
    assert "127.0.0.1" not in refused.value.message


async def test_when_to_come_again_is_what_the_server_says(serve: Any, executors: Any) -> None:
    def refuse(inputs: Tensors) -> Tensors:
        raise Overloaded("busy", retry_after_s=6.2)

    runtime = InlineExecutor(FunctionRuntime(refuse), on_loop=True)
    executor = await executors((await serve(dispatcher_of(entry(), executor=runtime))).address)
    with pytest.raises(Overloaded, match=r"busy$") as refused:
        await run(executor)
    assert refused.value.details["retry_after_s"] == 7


async def test_the_deadline_is_handed_on_and_kept(serve: Any, executors: Any) -> None:
    gate = GatedExecutor()
    server = await serve(dispatcher_of(entry(), executor=gate))
    executor = await executors(server.address)
    with pytest.raises(DeadlineExceeded):
        await run(executor, within_s=0.1)
    statistics = server.dispatcher.loaded["double", 1].statistics
    await eventually(lambda: statistics.cancelled.count + statistics.fail.count == 1)
    assert executor.slots == 64


async def test_a_client_that_gives_up_ends_the_work_there(serve: Any, executors: Any) -> None:
    gate = GatedExecutor()
    server = await serve(dispatcher_of(entry(), executor=gate))
    executor = await executors(server.address)
    batch = asyncio.ensure_future(run(executor))
    await eventually(lambda: gate.started == 1)
    batch.cancel()
    statistics = server.dispatcher.loaded["double", 1].statistics
    await eventually(lambda: statistics.cancelled.count == 1)
    with pytest.raises(asyncio.CancelledError):
        await batch


async def test_outputs_other_than_those_of_the_version_are_a_defect(serve: Any, executors: Any) -> None:
    version = version_of((await serve()).address)
    outputs = (TensorSpec("z", "FP32", (-1, 2)),)
    signatures = {"serving_default": Signature(version.manifest.signatures["serving_default"].inputs, outputs)}
    version = msgspec.structs.replace(
        version, manifest=msgspec.structs.replace(version.manifest, signatures=signatures)
    )
    with pytest.raises(InternalError, match=r"^expected the outputs z FP32 of the upstream server; got y FP32$"):
        await run(await executors(entry=version))


# -- a server that hangs ---------------------------------------------------------------------------------------------


async def test_a_server_that_says_nothing_any_more_loses_its_calls_to_the_other(
    serve: Any, executors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = threading.Event()
    hanging = await asyncio.to_thread(_HangingServer, silent)
    executor = await executors(hanging.address)
    assert executor.slots == 64
    monkeypatch.setattr(upstream_module, "PROBE_TIMEOUT_S", 0.1)
    silent.set()
    batch = asyncio.ensure_future(run(executor, within_s=60))
    await eventually(lambda: executor._usable[0].in_flight == 1)
    async with asyncio.timeout(PATIENCE_S):
        while executor.slots:
            await executor.reconnect()
    other = await serve()
    monkeypatch.undo()
    executor._clients |= UpstreamExecutor(version_of(other.address))._clients
    await executor.reconnect()
    assert (await batch)["y"].tolist() == DOUBLED
    await asyncio.to_thread(hanging.stop)


class _HangingServer:
    """A server in threads of its own, which say nothing once `silent` is set."""

    def __init__(self, silent: threading.Event) -> None:
        from concurrent.futures import ThreadPoolExecutor

        self._end = threading.Event()

        def ready(data: bytes, context: Any) -> bytes:
            if silent.is_set():
                self._end.wait(30)
            return messages.ModelReadyResponse(ready=True).SerializeToString()  # type: ignore[no-any-return]

        def infer(data: bytes, context: Any) -> bytes:
            self._end.wait(30)
            return b""

        methods = {
            "ModelReady": grpc.unary_unary_rpc_method_handler(ready),
            "ModelInfer": grpc.unary_unary_rpc_method_handler(infer),
        }
        self._server = grpc.server(ThreadPoolExecutor(8))
        self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(messages.SERVICE, methods)])
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def stop(self) -> None:
        self._end.set()
        self._server.stop(0).wait()
