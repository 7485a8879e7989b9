"""What dialects ask on the management port, through real clients, with a real store, fleet and gateway behind it."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tritonclient.http import InferenceServerClient, InferenceServerException

from model_store.store import Store
from serve.config import Config
from serve.control.management_queries import ManagementQueries
from serve.dialects.registry import management_dialects
from serve.front_doors.http import HttpFrontDoor
from serve.front_doors.http_listener import HttpListener
from tests.serve.administered import Administered, administered, convert, export
from tests.serve.waiting import eventually


@asynccontextmanager
async def managed(folder: Path, port: int) -> AsyncIterator[Administered]:
    """A management port without `/api`, and the model `m`, which doubles."""
    source = str(export(folder / "two.onnx", 2))
    convert(Store.open(str(folder / "store")), source, "m")
    async with administered(folder, {"name": "m", "source": source}) as served:
        queries = ManagementQueries(served.fleet, served.administration)
        door = HttpFrontDoor(management_dialects("torchserve"), queries.answer, 1 << 20)
        listener = HttpListener(door, "127.0.0.1", port)
        listener.start()
        yield served
        await listener.stop()


async def call(port: int, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
    def blocking() -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            reply = connection.getresponse()
            content = reply.read()
            return reply.status, json.loads(content) if content else None
        finally:
            connection.close()

    return await asyncio.to_thread(blocking)


async def test_triton_s_client_unloads_lists_and_loads(tmp_path: Path, free_port: int) -> None:
    def use() -> list[Any]:
        with InferenceServerClient(f"127.0.0.1:{free_port}") as client:
            client.load_model("m")
            seen = [client.is_model_ready("m"), client.get_model_metadata("m")["versions"]]
            client.unload_model("m")
            with pytest.raises(InferenceServerException, match="neither in the config"):
                client.load_model("absent")
            client.load_model("m")
            return [*seen, client.get_model_repository_index()]

    async with managed(tmp_path, free_port) as served:
        index = [{"name": "m", "version": "1", "state": "READY", "reason": ""}]
        assert await asyncio.to_thread(use) == [True, ["1"], index]
        assert await served.call("m") == 2


@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready"])
async def test_the_server_s_health_is_told(tmp_path: Path, free_port: int, path: str) -> None:
    async with managed(tmp_path, free_port):
        await call(free_port, "POST", "/v2/repository/models/m/load")
        assert (await call(free_port, "GET", path))[0] == 200


async def test_what_can_not_be_called_yet_is_not_ready(tmp_path: Path, free_port: int) -> None:
    async with managed(tmp_path, free_port) as served:
        await call(free_port, "POST", "/v2/repository/models/m/load")
        convert(served.store, str(tmp_path / "two.onnx"), "n")
        # Nobody starts replicas here.
        on_replicas = {"source": str(tmp_path / "two.onnx"), "serve": {"executor": "replicas"}}
        models = [{"name": name, **on_replicas} for name in ("m", "n")]
        await served.desired.apply(Config.model_validate({**served.desired.config.document(), "models": models}))
        await eventually(lambda: ("n", 1) in served.dispatcher.loaded)
        assert (await call(free_port, "GET", "/v2/health/ready"))[0] == 400
        statuses = [(await call(free_port, "GET", f"/v2/models/{name}/ready"))[0] for name in ("m", "n")]
        assert statuses == [400, 400]


async def test_inference_is_not_found_here(tmp_path: Path, free_port: int) -> None:
    inputs = [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]
    async with managed(tmp_path, free_port):
        status, answer = await call(free_port, "POST", "/v2/models/m/infer", {"inputs": inputs})
        assert (status, answer) == (404, {"error": "Not Found: inference is answered on the endpoint's own ports"})
        status, answer = await call(free_port, "GET", "/v2/models/stats")
        assert status == 404
        status, answer = await call(free_port, "GET", "/v2/models/absent")
        assert status == 404


async def test_models_are_registered_and_unregistered(tmp_path: Path, free_port: int) -> None:
    source = tmp_path / "two.onnx"
    async with managed(tmp_path, free_port) as served:
        convert(served.store, str(source), "n")
        status, _ = await call(free_port, "POST", f"/models?url=file://{source}&model_name=n")
        assert (status, await served.call("n")) == (200, 2)
        status, answer = await call(free_port, "POST", f"/models?url=file://{source}&model_name=n")
        assert (status, answer["code"]) == (409, 409)
        assert (await call(free_port, "DELETE", "/models/n"))[0] == 200
        assert served.names() == ["m"]


@pytest.mark.parametrize(("method", "path"), [("GET", "/openapi.json"), ("OPTIONS", "/")])
async def test_the_port_describes_its_own_calls(tmp_path: Path, free_port: int, method: str, path: str) -> None:
    async with managed(tmp_path, free_port):
        status, document = await call(free_port, method, path)
        assert (status, document["info"]["title"]) == (200, "onegate management")
        assert {"/api/config", "/openapi.json", "/v2/repository/index"} <= document["paths"].keys()
        assert "/v2/models/{model}/infer" not in document["paths"]
        assert (await call(free_port, "POST", path))[0] == 405
