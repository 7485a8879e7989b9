"""Clients that people have, over TLS: to the HTTP door with its dialects, and to the gRPC door."""

from __future__ import annotations

import asyncio
import http.client
import json
import subprocess
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import grpc.aio
import numpy as np
import pytest
import requests
from tritonclient.http import InferenceServerClient, InferInput

from serve.dialects.open_inference_http import OpenInferenceHttp
from serve.front_doors.http import HttpFrontDoor
from serve.front_doors.http_listener import HttpListener
from serve.front_doors.tls import GRPC, HTTP, Tls
from serve.shared_memory import RegionPool
from tests.serve.certificates import Issued, authority, issued, trusting
from tests.serve.front_doors.http2_service import Served, serving
from tests.serve.front_doors.http_calls import INFER, body, tensor
from tests.serve.tiny_versions import dispatcher_of, entry
from tests.serve.waiting import PATIENCE_S

DOUBLED = [{"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [3, -4]}]


class Https:
    """An endpoint with the model `double`, its CA, and a client's certificate."""

    def __init__(self, port: int, ca: Issued, own: Issued, pool: RegionPool) -> None:
        self.url, self.port = f"https://localhost:{port}", port
        self.ca, self.own, self.pool = ca, own, pool


@asynccontextmanager
async def endpoint(port: int, folder: Path, *, mutual: bool) -> AsyncIterator[Https]:
    ca, pool = authority(folder), RegionPool()
    files = issued(folder, "server", ca).server_files(client_ca=ca if mutual else None)
    door = HttpFrontDoor([OpenInferenceHttp()], dispatcher_of(entry()).answer, 1 << 26, regions=pool)
    listener = HttpListener(door, "127.0.0.1", port, tls=Tls(files, HTTP))
    listener.start()
    try:
        yield Https(port, ca, issued(folder, "client", ca, client=True), pool)
    finally:
        await listener.stop()


@pytest.fixture(params=[False, True], ids=["tls", "mutual"])
async def https(request: pytest.FixtureRequest, free_port: int, tmp_path: Path) -> AsyncIterator[Https]:
    async with endpoint(free_port, tmp_path, mutual=request.param) as https:
        yield https


# -- HTTP ------------------------------------------------------------------------------------------------------------


async def test_python_s_own_client(https: Https) -> None:
    def ask() -> list[Any]:
        connection = http.client.HTTPSConnection("localhost", https.port, context=trusting(https.ca, https.own))
        answers = []
        for _ in range(3):
            connection.request("POST", INFER, body(tensor()))
            answers.append(json.load(connection.getresponse())["outputs"])
        connection.close()
        return answers

    assert await asyncio.to_thread(ask) == [DOUBLED] * 3


async def test_urllib(https: Https) -> None:
    def ask() -> Any:
        context = trusting(https.ca, https.own)
        with urllib.request.urlopen(https.url + INFER, body(tensor()), context=context, timeout=10) as reply:
            return json.load(reply)["outputs"]

    assert await asyncio.to_thread(ask) == DOUBLED


async def test_requests(https: Https) -> None:
    def ask() -> list[Any]:
        with requests.Session() as session:
            session.trust_env = False
            session.verify, session.cert = str(https.ca.path), (str(https.own.path), str(https.own.key_path))
            return [session.post(https.url + INFER, body(tensor()), timeout=10).json()["outputs"] for _ in range(3)]

    assert await asyncio.to_thread(ask) == [DOUBLED] * 3


async def test_aiohttp_with_many_calls_at_once(https: Https) -> None:
    connector = aiohttp.TCPConnector(ssl=trusting(https.ca, https.own), limit=8)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def ask() -> Any:
            async with session.post(https.url + INFER, data=body(tensor())) as reply:
                return (await reply.json())["outputs"]

        assert await asyncio.gather(*(ask() for _ in range(100))) == [DOUBLED] * 100


async def test_curl(https: Https) -> None:
    files = ["--cacert", https.ca.path, "--cert", https.own.path, "--key", https.own.key_path]
    words = ["curl", "-sS", "--max-time", "10", *files, https.url + INFER, "-d", body(tensor())]
    told = await asyncio.to_thread(subprocess.run, words, capture_output=True, check=True)
    assert json.loads(told.stdout)["outputs"] == DOUBLED


async def test_triton_s_client(https: Https) -> None:
    def ask() -> np.ndarray:
        context = trusting(https.ca, https.own)
        client = InferenceServerClient(f"localhost:{https.port}", ssl=True, ssl_context_factory=lambda: context)
        x = InferInput("x", [1, 2], "FP32")
        x.set_data_from_numpy(np.array([[1.5, -2]], np.float32))
        answer = client.infer("double", [x]).as_numpy("y")
        client.close()
        return answer

    assert (await asyncio.to_thread(ask)).tolist() == [[3, -4]]


async def test_a_large_tensor_is_received_where_replicas_read_it(https: Https, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    take = https.pool.take_if_few
    monkeypatch.setattr(https.pool, "take_if_few", lambda size: (taken.append(size), take(size))[1])
    x = np.arange(2_000_000, dtype=np.float32).reshape(-1, 2)
    described = {"name": "x", "datatype": "FP32", "shape": x.shape, "parameters": {"binary_data_size": x.nbytes}}
    header = json.dumps({"inputs": [described], "parameters": {"binary_data_output": True}}).encode()

    def ask() -> bytes:
        connection = http.client.HTTPSConnection("localhost", https.port, context=trusting(https.ca, https.own))
        connection.request("POST", INFER, header + x.tobytes(), {"Inference-Header-Content-Length": str(len(header))})
        reply = connection.getresponse()
        assert reply.status == 200
        content = reply.read()
        connection.close()
        return content[int(reply.headers["Inference-Header-Content-Length"]) :]

    assert np.array_equal(np.frombuffer(await asyncio.to_thread(ask), np.float32).reshape(-1, 2), 2 * x)
    assert len(taken) == 1
    assert taken[0] >= x.nbytes


# -- gRPC ------------------------------------------------------------------------------------------------------------


class Grpcs:
    """The echo service, and how clients get there."""

    def __init__(self, served: Served, ca: Issued, own: Issued) -> None:
        self.served = served
        self.address = f"localhost:{served.port}"
        self.ca = ca.path.read_bytes()
        self.own = (own.key_path.read_bytes(), own.path.read_bytes())
        self.credentials = grpc.ssl_channel_credentials(self.ca, *self.own)


@asynccontextmanager
async def grpc_endpoint(folder: Path, *, mutual: bool) -> AsyncIterator[Grpcs]:
    ca = authority(folder)
    files = issued(folder, "server", ca).server_files(client_ca=ca if mutual else None)
    async with serving(tls=Tls(files, GRPC)) as served:
        yield Grpcs(served, ca, issued(folder, "client", ca, client=True))


@pytest.fixture(params=[False, True], ids=["tls", "mutual"])
async def grpcs(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Grpcs]:
    async with grpc_endpoint(tmp_path, mutual=request.param) as grpcs:
        yield grpcs


def _asked(grpcs: Grpcs, name: str, credentials: grpc.ChannelCredentials, *messages: bytes) -> Callable[[], list[Any]]:
    def ask() -> list[Any]:
        with grpc.secure_channel(grpcs.address, credentials, [("grpc.max_receive_message_length", -1)]) as channel:
            call = channel.unary_unary(f"/test.Echo/{name}")
            return [call(message, timeout=10) for message in messages]

    return ask


async def test_grpc_s_client(grpcs: Grpcs) -> None:
    messages = [b"a", bytes(16_384), bytes(3_000_000), b""]
    assert await asyncio.to_thread(_asked(grpcs, "Say", grpcs.credentials, *messages)) == messages


async def test_grpc_s_client_with_a_large_answer(grpcs: Grpcs) -> None:
    (answer,) = await asyncio.to_thread(_asked(grpcs, "Large", grpcs.credentials, b"20000000"))
    assert len(answer) == 20_000_000


async def test_grpc_s_asyncio_client_with_many_calls_and_streams(grpcs: Grpcs) -> None:
    async with grpc.aio.secure_channel(grpcs.address, grpcs.credentials) as channel:
        call = channel.unary_unary("/test.Echo/Shout")
        assert await asyncio.gather(*(call(b"a%d" % number) for number in range(200))) == [
            b"A%d" % number for number in range(200)
        ]
        numbers = [int(message) async for message in channel.unary_stream("/test.Echo/Count")(b"500")]
        assert numbers == list(range(500))


async def test_grpc_s_client_without_a_certificate_is_refused_where_one_is_asked_for(tmp_path: Path) -> None:
    async with grpc_endpoint(tmp_path, mutual=True) as grpcs:
        with pytest.raises(grpc.RpcError) as refused:
            await asyncio.to_thread(_asked(grpcs, "Say", grpc.ssl_channel_credentials(grpcs.ca), b"a"))
        assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
        assert grpcs.served.echo.asked == []


async def test_calls_under_way_are_answered_when_the_door_closes(grpcs: Grpcs) -> None:
    echo, door = grpcs.served.echo, grpcs.served.door
    asked = asyncio.create_task(asyncio.to_thread(_asked(grpcs, "Wait", grpcs.credentials, b"late")))
    async with asyncio.timeout(PATIENCE_S):
        while not echo.asked:  # noqa: ASYNC110 - the service tells nobody
            await asyncio.sleep(0.005)
        stopping = asyncio.create_task(door.stop(10))
        await asyncio.sleep(0)
        echo.release[b"late"].set()
        assert await asked == [b"late"]
        await stopping
