"""A client of an endpoint that wants to know who asks: keys, and TLS at both ports."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_store.errors import Forbidden, ModelNotReady, Unauthenticated, Unsupported
from serve.client import Retries
from serve.dialects.registry import grpc_services, http_dialects
from serve.front_doors.grpc import GrpcFrontDoor
from serve.front_doors.http import HttpFrontDoor
from serve.front_doors.http_listener import HttpListener
from serve.front_doors.tls import GRPC, HTTP, Tls
from tests.serve.access.guarded import REACHED, guarded
from tests.serve.certificates import Issued, authority, issued
from tests.serve.client.callers import caller_of
from tests.serve.tiny_versions import dispatcher_of, entry

X = {"x": np.ones((1, 2), np.float32)}


async def test_a_key_says_what_may_be_asked(way: str) -> None:
    async with guarded(["view"]) as ports:
        url = f"http://127.0.0.1:{ports.endpoint}" if way.startswith("http") else f"grpc://127.0.0.1:{ports.grpc}"
        async with caller_of(way, url) as nobody:
            with pytest.raises(Unauthenticated):
                await nobody.infer("double", X)
        async with caller_of(way, url, api_key="og_0.nonsense") as stranger:
            with pytest.raises(Unauthenticated):
                await stranger.infer("double", X)
        async with caller_of(way, url, api_key=ports.keys.key("infer:other")) as other:
            with pytest.raises(Forbidden):
                await other.infer("double", X)
        async with caller_of(way, url, api_key=ports.keys.key("infer:double")) as own:
            with pytest.raises(Unsupported, match=f"^{REACHED}$"):
                await own.infer("double", X)


@dataclass
class Secured:
    """Both ports with mutual TLS."""

    http: str
    grpc: str
    ca: Issued
    own: Issued

    def url(self, way: str) -> str:
        return self.http if way.startswith("http") else self.grpc

    def own_files(self) -> dict[str, Any]:
        return {"certificate": str(self.own.path), "private_key": str(self.own.key_path)}


@pytest.fixture
async def secured(tmp_path: Path, free_port: int) -> AsyncIterator[Secured]:
    ca = authority(tmp_path)
    files = issued(tmp_path, "server", ca).server_files(client_ca=ca)
    dispatcher = dispatcher_of(entry())
    front = HttpFrontDoor(http_dialects("torchserve"), dispatcher.answer, 1_000_000)
    listener = HttpListener(front, "127.0.0.1", free_port, tls=Tls(files, HTTP))
    listener.start()
    door = GrpcFrontDoor(grpc_services(), dispatcher.answer, tls=Tls(files, GRPC))
    (port,) = await door.start(["127.0.0.1:0"])
    yield Secured(
        f"https://127.0.0.1:{free_port}",
        f"grpcs://127.0.0.1:{port}",
        ca,
        issued(tmp_path, "own", ca, client=True),
    )
    await listener.stop()
    await door.stop(0)


async def test_a_client_with_a_certificate_is_answered(secured: Secured, way: str) -> None:
    async with caller_of(way, secured.url(way), ca=str(secured.ca.path), **secured.own_files()) as caller:
        for rows in (1, 100_000):
            inputs = {"x": np.ones((rows, 2), np.float32)}
            assert (await caller.infer("double", inputs)).array.sum() == 4 * rows


async def test_an_endpoint_that_is_not_trusted_is_told_and_not_asked_again(
    secured: Secured, way: str, tmp_path: Path
) -> None:
    other = authority(tmp_path, "other")
    async with caller_of(way, secured.url(way), ca=str(other.path), **secured.own_files()) as caller:
        with pytest.raises(ModelNotReady, match=r"(?i)^no endpoint answers at .*certificate") as refused:
            await caller.infer("double", X)
    assert refused.value.details == {"again": False, "reached": False}


async def test_a_client_without_a_certificate_is_refused(secured: Secured, way: str) -> None:
    async with caller_of(way, secured.url(way), ca=str(secured.ca.path)) as caller:
        with pytest.raises(ModelNotReady):
            await caller.infer("double", X, deadline_s=2)


async def test_a_key_is_in_no_message(way: str) -> None:
    url = f"{way[:4]}://127.0.0.1:9"
    async with caller_of(way, url, api_key="og_1.secret", retries=Retries(tries=1)) as caller:
        with pytest.raises(ModelNotReady) as told:
            await caller.infer("double", X)
    assert "secret" not in str(told.value) + repr(told.value) + repr(caller.client)
