"""Ways round the guard that do not lead anywhere: other spellings of paths, other methods, other callers on the same
connection, and what costs much and needs no key."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator

import grpc
import pytest

from serve.access.guard import SMALL_BODY_BYTES
from serve.access.scopes import Need, query_need
from tests.serve.access.guarded import MAX_BODY_BYTES, REACHED, Ports, ask, bearer, guarded
from tests.serve.waiting import PATIENCE_S

PATHS = (
    *("//api/state", "/api//state", "/api/state/", "/api/state/.", "/./api/state", "/../api/state", "/api/./state"),
    *("/%61pi/state", "/api%2Fstate", "/api/%73tate", "/API/state", "/api/state%00", "/api/state;x", "/api", "/api/"),
    *("http://localhost/api/state", "http://x//api/state", "api/state", "//127.0.0.1/api/state", "/v2/../api/state"),
    *("/api/models/double/rollback/", "/api/models/double%2Frollback", "/api/models/double/r%6Fllback"),
    *("/api/models/%2E%2E/rollback", "/api/models//rollback", "/api/models/a/b/rollback", "/api/models/d%0A/traffic"),
    *(
        "/models/",
        "//models",
        "/models//double",
        "/v2/models/double/",
        "/v2//models/double",
        "/v2/models/double%2Finfer",
    ),
    *("/v2/models/double/versions//infer", "/v2/repository/index/", "/v2/repository//index", "/%2e/v2/models/double"),
    *("/predictions//double", "/double/predict/", "/v1/models/double%3Apredict", "/v1/models/double:predict/"),
    *("/invocations/", "/metrics", "/metrics/", "/api/health", "*"),
)
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "PROPFIND")


@pytest.fixture
async def ports() -> AsyncIterator[Ports]:
    async with guarded() as ports:
        yield ports


async def statuses(port: int, *requests: tuple[str, str, str | None]) -> list[int]:
    """Of requests (method, path, key) that are sent at once on one connection, which ends behind the last."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for number, (method, path, key) in enumerate(requests, 1):
        lines = [f"{method} {path} HTTP/1.1", "host: localhost", "content-length: 0"]
        lines += [f"authorization: Bearer {key}"] if key else []
        lines += ["connection: close"] if number == len(requests) else []
        writer.write("\r\n".join([*lines, "", ""]).encode())
    async with asyncio.timeout(PATIENCE_S):
        replies = await reader.read()
    writer.close()
    return [int(reply.split(None, 1)[0]) for reply in replies.split(b"HTTP/1.1 ")[1:]]


@pytest.mark.parametrize("port", ["endpoint", "management"])
@pytest.mark.parametrize("method", METHODS)
async def test_no_spelling_of_a_path_is_let_in_without_a_key(ports: Ports, port: str, method: str) -> None:
    found = {path: await statuses(getattr(ports, port), (method, path, None)) for path in PATHS}

    assert {status for (status,) in found.values()} <= {400, 401, 404, 405}
    assert [query for query in ports.nobody.asked if query_need(query)[0] is not Need.NOTHING] == []


async def test_each_request_of_a_connection_is_its_own_key_s(ports: Ports) -> None:
    view, infer = ports.keys.key("view"), ports.keys.key("infer")
    state = ("GET", "/api/state")
    asked = [(*state, view), (*state, None), (*state, infer), (*state, view)]

    assert await statuses(ports.management, *asked) == [501, 401, 403, 501]


async def test_a_key_that_ends_while_its_body_comes_changes_nothing(ports: Ports) -> None:
    key = ports.keys.key("manage")
    reader, writer = await asyncio.open_connection("127.0.0.1", ports.management)
    head = f"PUT /api/models/m/labels HTTP/1.1\r\nhost: localhost\r\nx-api-key: {key}\r\nconnection: close\r\n"
    writer.write(f"{head}content-length: 15\r\nexpect: 100-continue\r\n\r\n".encode())
    async with asyncio.timeout(PATIENCE_S):
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        ports.keys.revoke_all()
        writer.write(b'{"stable": "3"}')
        assert (await reader.read()).startswith(b"HTTP/1.1 401 ")
    writer.close()


async def test_a_packed_body_is_as_small_when_it_is_unpacked(ports: Ports) -> None:
    """1 KB may be 1 MB."""
    small, large = gzip.compress(bytes(SMALL_BODY_BYTES)), gzip.compress(bytes(MAX_BODY_BYTES))
    packed = [("content-encoding", "gzip")]

    assert REACHED in (await ask(ports.endpoint, "GET", "/v2/health/live", small, packed)).said
    assert (await ask(ports.endpoint, "GET", "/v2/health/live", large, packed)).status == 413
    key = bearer(ports.keys.key("infer"))
    assert REACHED in (await ask(ports.endpoint, "GET", "/v2/health/live", large, [*packed, *key])).said


async def test_a_message_is_as_small_as_a_body_where_no_key_is_needed(ports: Ports) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel:
        live = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")
        key = (("authorization", f"Bearer {ports.keys.key('infer')}"),)
        # A field that the message does not know.
        large = b"\x0a\x80\x80\x04" + bytes(1 << 16)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await live(large, timeout=20)
        assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        await live(large, metadata=key, timeout=20)


@pytest.mark.parametrize(("origin", "status"), [("http://evil.example", 403), ("null", 403), ("own", 501)])
async def test_a_page_of_another_origin_manages_nothing_without_a_key(origin: str, status: int) -> None:
    """A browser sends such a POST for any page, without asking first."""
    async with guarded(["infer", "view", "manage"]) as ports:
        page = [("origin", f"http://127.0.0.1:{ports.endpoint}" if origin == "own" else origin)]
        load, index = "/v2/repository/models/double/load", "/v2/repository/index"
        for path in (load, index):
            assert (await ask(ports.endpoint, "POST", path, b"", page)).status == status
        assert (await ask(ports.endpoint, "POST", "/predict/double", b"[1, 2]", page)).status == 501
        key = bearer(ports.keys.key("manage"))
        assert (await ask(ports.endpoint, "POST", load, b"", [*page, *key])).status == 501


async def test_streams_without_a_key_take_no_places_of_others() -> None:
    async with guarded(max_requests=2) as ports, grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel:
        open_to_all = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
        held = [open_to_all(timeout=20) for _ in range(2)]
        for call in held:
            await call.write(b"\x3a\x00")
            await call.read()
        with pytest.raises(grpc.aio.AioRpcError, match="2 streams are under way"):
            await channel.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=20).read()
        infer = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
        key = (("authorization", f"Bearer {ports.keys.key('infer')}"),)
        assert REACHED.encode() in await infer(iter([b"\x0a\x06double"]), metadata=key, timeout=20).read()
        for call in held:
            call.cancel()
