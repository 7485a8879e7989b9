"""A key's limits through the ports: the code that each protocol has for them, and when to come again."""

from __future__ import annotations

import grpc
import pytest

from serve.protocols import open_inference
from tests.serve.access.guarded import ask, bearer, guarded


@pytest.mark.parametrize(
    "path", ["/v2/models/double/infer", "/v1/models/double:predict", "/predictions/double", "/predict/double"]
)
async def test_a_call_too_many_is_429_with_retry_after(path: str) -> None:
    bodies = {"/v2": b'{"inputs": []}', "/v1": b'{"instances": [1]}'}
    async with guarded() as ports:
        key = bearer(ports.keys.key("infer", rate_per_s=0.1))
        body = bodies.get(path[:3], b"[1]")
        first = await ask(ports.endpoint, "POST", path, body, key)
        second = await ask(ports.endpoint, "POST", path, body, key)
        health = await ask(ports.endpoint, "GET", "/v2/health/ready", None, key)

        assert (first.status, second.status, second.headers["retry-after"]) == (501, 429, "10")
        assert health.status == 501


async def test_a_management_call_too_many_is_429() -> None:
    async with guarded() as ports:
        key = bearer(ports.keys.key("view", rate_per_s=0.1))
        statuses = [(await ask(ports.management, "GET", "/api/state", None, key)).status for _ in range(2)]

        assert statuses == [501, 429]


async def test_a_call_too_many_is_resource_exhausted_with_retry_after() -> None:
    async with guarded() as ports, grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelMetadata")
        message = open_inference.ModelMetadataRequest(name="double").SerializeToString()
        metadata = (("x-api-key", ports.keys.key("infer", rate_per_s=0.1)),)
        told = []
        for _ in range(2):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call(message, metadata=metadata, timeout=10)
            told.append((refused.value.code().name, dict(refused.value.initial_metadata()).get("retry-after")))

        assert [code for code, _ in told] == ["UNIMPLEMENTED", "RESOURCE_EXHAUSTED"]
        assert dict(refused.value.trailing_metadata())["retry-after"] == "10"


async def test_each_message_of_a_stream_counts() -> None:
    async with guarded() as ports, grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel:
        stub = channel.stream_stream(
            "/inference.GRPCInferenceService/ModelStreamInfer",
            open_inference.ModelInferRequest.SerializeToString,
            open_inference.ModelStreamInferResponse.FromString,
        )
        stream = stub(metadata=(("x-api-key", ports.keys.key("infer", rate_per_s=2)),), timeout=10)
        tensor = {"name": "x", "datatype": "FP32", "shape": [1, 1], "contents": {"fp32_contents": [1]}}
        said = []
        for _ in range(3):
            await stream.write(open_inference.ModelInferRequest(model_name="double", inputs=[tensor]))
            said.append((await stream.read()).error_message)
        await stream.done_writing()

        assert said == [*["the call was let in"] * 2, "the key admits 2 calls a second; try again later"]
