"""Every gRPC method with no key, a wrong scope, an expired key and a right one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from serve.access.scopes import GRPC_METHODS, Need
from serve.protocols import open_inference
from tests.serve.access.guarded import Ports, guarded
from tests.serve.access.routes import RIGHT, WRONG
from tests.serve.fuzzing import grpc_seeds

SEEDS = [*grpc_seeds.V2, *grpc_seeds.TENSORFLOW, *grpc_seeds.TORCHSERVE, *grpc_seeds.STANDARD]
METHODS = {f"{service}/{method}": need for service, methods in GRPC_METHODS.items() for method, need in methods.items()}
NEEDING = {method: need for method, need in METHODS.items() if need is not Need.NOTHING}
REFUSED = ("UNAUTHENTICATED", "PERMISSION_DENIED")


@pytest.fixture
async def ports() -> AsyncIterator[Ports]:
    async with guarded() as ports:
        yield ports


@pytest.fixture
async def channel(ports: Ports) -> AsyncIterator[Any]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel:
        yield channel


async def code(channel: Any, method: str, key: str | None = None, messages: tuple[bytes, ...] = (b"",)) -> str:
    """The code that a call ends with; of a stream that goes on when a message is refused, OK."""
    metadata = () if key is None else (("authorization", f"Bearer {key}"),)
    if len(messages) == 1:
        # One after the other, the client may be told while it still writes, and then says INTERNAL itself.
        call = channel.unary_stream(f"/{method}")(messages[0], metadata=metadata, timeout=10)
    else:
        call = channel.stream_stream(f"/{method}")(iter(messages), metadata=metadata, timeout=10)
    try:
        async for _ in call:
            pass
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"


async def test_without_a_key_a_method_is_unauthenticated(ports: Ports, channel: Any) -> None:
    found = {method: await code(channel, method) for method in NEEDING}

    assert found == dict.fromkeys(NEEDING, "UNAUTHENTICATED")
    assert ports.nobody.asked == []


async def test_with_a_wrong_scope_a_method_is_denied(ports: Ports, channel: Any) -> None:
    # That another model's name is no right one is seen in the message: the next test but two.
    wrong = {need: tuple(scope for scope in scopes if not scope.startswith("infer:")) for need, scopes in WRONG.items()}
    found = {method: await code(channel, method, ports.keys.key(*wrong[need])) for method, need in NEEDING.items()}

    assert found == dict.fromkeys(NEEDING, "PERMISSION_DENIED")
    assert ports.nobody.asked == []


async def test_with_an_expired_key_any_method_is_unauthenticated(ports: Ports, channel: Any) -> None:
    key = ports.keys.key("infer", "view", "manage", "metrics", expired=True)
    found = {method: await code(channel, method, key) for method in METHODS}

    assert found == dict.fromkeys(METHODS, "UNAUTHENTICATED")


@pytest.mark.parametrize("alone", range(4))
async def test_with_a_right_scope_a_method_is_let_in(ports: Ports, channel: Any, alone: int) -> None:
    for method, need in NEEDING.items():
        if alone < len(RIGHT[need]):
            found = await code(channel, method, ports.keys.key(*RIGHT[need][alone]))
            # An empty message names no model.
            assert found not in REFUSED or (need in (Need.INFER, Need.MODEL) and RIGHT[need][alone][0] != need.value)


async def test_a_key_for_another_model_is_denied_by_the_message(ports: Ports, channel: Any) -> None:
    key = ports.keys.key("infer:other")
    streams = ("ModelStreamInfer", "StreamPredictions2")
    for seed in SEEDS:
        if METHODS[seed.method] in (Need.INFER, Need.MODEL) and not seed.method.endswith(streams):
            assert await code(channel, seed.method, key, seed.serialised().messages) in (
                "PERMISSION_DENIED",
                "INVALID_ARGUMENT",
                "UNIMPLEMENTED",
            ), seed
    assert ports.nobody.asked == []


async def test_a_key_for_the_model_is_let_in_by_the_message(ports: Ports, channel: Any) -> None:
    key = ports.keys.key("infer:*")
    for seed in SEEDS:
        if METHODS[seed.method] is Need.INFER:
            assert await code(channel, seed.method, key, seed.serialised().messages) not in REFUSED, seed
    assert len(ports.nobody.asked) > 10


async def test_what_needs_nothing_is_let_in_without_a_key(channel: Any) -> None:
    found = {method: await code(channel, method) for method, need in METHODS.items() if need is Need.NOTHING}

    assert not set(found.values()) & set(REFUSED)


async def test_the_messages_of_a_stream_are_let_in_one_by_one(ports: Ports, channel: Any) -> None:
    key = ports.keys.key("infer:double")
    metadata = (("x-api-key", key),)
    stub = channel.stream_stream(
        "/inference.GRPCInferenceService/ModelStreamInfer",
        open_inference.ModelInferRequest.SerializeToString,
        open_inference.ModelStreamInferResponse.FromString,
    )
    stream = stub(metadata=metadata, timeout=10)

    async def said(model: str) -> str:
        tensor = {"name": "x", "datatype": "FP32", "shape": [1, 1], "contents": {"fp32_contents": [1]}}
        await stream.write(open_inference.ModelInferRequest(model_name=model, inputs=[tensor]))
        return str((await stream.read()).error_message)

    assert await said("double") == "the call was let in"
    assert await said("other") == "the call needs the scope infer:other, and key:k0 has infer:double"
    ports.keys.revoke_all()
    assert await said("double") == "the key or token has expired, or was revoked; get a new one"
    await stream.done_writing()
