"""What a call may bring as credentials, through real sockets: garbage is 401, never a failure of the server."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import grpc
import pytest

from model_store.errors import Unauthenticated
from serve.access.callers import MAX_CREDENTIALS, presented
from tests.serve.access.guarded import Ports, ask, guarded


@pytest.fixture
async def ports() -> AsyncIterator[Ports]:
    async with guarded() as ports:
        yield ports


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({}, None),
        ({"authorization": "", "x-api-key": " "}, None),
        ({"authorization": "Bearer og_a_b"}, "og_a_b"),
        ({"authorization": "bearer   og_a_b "}, "og_a_b"),
        ({"x-api-key": "og_a_b"}, "og_a_b"),
        # A proxy's own Authorization leaves the other for the key.
        ({"authorization": "Basic dTpw", "x-api-key": "og_a_b"}, "og_a_b"),
    ],
)
def test_the_key_is_found(headers: dict[str, str], found: str | None) -> None:
    assert presented(headers.get) == found


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer"},
        {"authorization": "Basic dTpw"},
        {"authorization": "og_a_b"},
        {"authorization": "Bearer og_a_b, Bearer og_c_d"},
        {"authorization": "Bearer k\xe9y"},
        {"authorization": "Bearer " + "a" * (MAX_CREDENTIALS + 1)},
        {"x-api-key": "og_a_b, og_c_d"},
        {"x-api-key": "a\tb"},
        {"x-api-key": "a\x7fb"},
    ],
)
def test_what_is_no_credentials_is_refused_without_being_repeated(headers: dict[str, str]) -> None:
    with pytest.raises(Unauthenticated) as refused:
        presented(headers.get)
    assert refused.value.message.startswith("expected `Authorization: Bearer KEY` or `X-API-Key: KEY`")
    assert "og_" not in refused.value.message


GARBAGE = [
    [("authorization", b"Bearer \xff\xfe\xc3\xa9")],
    [("authorization", b"Bearer " + b"a" * 40_000)],
    [("authorization", b"Bearer og_" + b"_" * 2000)],
    [("authorization", b"Bearer og_a_b")] * 200,
    [("authorization", b"Bearer a.b.c")],
    [("authorization", b"Bearer eyJhbGciOiJub25lIn0.e30.")],
    [("authorization", b"Negotiate " + b"=" * 500)],
    [("x-api-key", b"\xf0\x9f\x98\x80"), ("authorization", b"Bearer x")],
    [("x-api-key", b"'; drop table keys; --")],
]


@pytest.mark.parametrize("headers", GARBAGE, ids=range(len(GARBAGE)))
@pytest.mark.parametrize("path", ["/v2/models/double", "/v1/models/double", "/predictions/double", "/ping", "/nothing"])
async def test_garbage_is_401_over_http(ports: Ports, path: str, headers: list[tuple[str, bytes]]) -> None:
    reply = await ask(ports.endpoint, "POST", path, b"{}", headers)

    assert reply.status == 401
    assert reply.headers.get("www-authenticate") == "Bearer" or path == "/nothing"
    managed = await ask(ports.management, "GET", "/api/state", None, headers)
    assert managed.status == 401


async def test_random_bytes_are_401_over_http(ports: Ports) -> None:
    rng = random.Random(7)
    bytes_ = [byte for byte in range(9, 256) if byte not in (10, 11, 12, 13, *range(14, 32), 127)]
    for _ in range(200):
        text = b"Bearer x" + bytes(rng.choices(bytes_, k=rng.randrange(1, 200)))
        reply = await ask(ports.endpoint, "GET", "/v2/models/m", None, [("authorization", text)])
        assert reply.status == 401, text


@pytest.mark.parametrize("text", ["Bearer og_a_b", "Basic x", "a" * 4000, "Bearer " + "_" * 4000, "Bearer a.b.c"])
async def test_garbage_is_unauthenticated_over_grpc(ports: Ports, text: str) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(b"", metadata=(("authorization", text),), timeout=10)
    assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED


async def test_a_body_is_refused_before_it_is_sent(ports: Ports) -> None:
    """Its length alone is enough: the reply comes while the client still has it."""
    head = [("content-length", "1000000"), ("expect", "100-continue")]
    reply = await ask(ports.endpoint, "POST", "/v2/models/double/infer", None, head)
    assert (reply.status, reply.headers["www-authenticate"]) == (401, "Bearer")
    key = ports.keys.key("view")
    reply = await ask(ports.endpoint, "POST", "/v2/models/double/infer", None, [*head, ("x-api-key", key)])
    assert reply.status == 403
