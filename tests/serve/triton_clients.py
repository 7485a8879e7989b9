"""Triton's four clients, unmodified, behind one way to call them: http and grpc, each blocking and with asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import numpy as np
import tritonclient.grpc
import tritonclient.grpc.aio
import tritonclient.http
import tritonclient.http.aio

MODULES: dict[str, ModuleType] = {
    "http": tritonclient.http,
    "http.aio": tritonclient.http.aio,
    "grpc": tritonclient.grpc,
    "grpc.aio": tritonclient.grpc.aio,
}


class TritonClient:
    """One of `MODULES` by name, for the server on 127.0.0.1 that has these ports."""

    def __init__(self, name: str, http_port: int, grpc_port: int) -> None:
        self.over_http = name.startswith("http")
        self._module = MODULES[name]
        self._with_asyncio = name.endswith("aio")
        self._target = f"127.0.0.1:{http_port if self.over_http else grpc_port}"

    async def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        """What the client makes of the answer; messages of gRPC as the JSON that the clients over HTTP return."""
        if not self.over_http and method.startswith("get_"):
            options["as_json"] = True
        if self._with_asyncio:
            async with self._module.InferenceServerClient(self._target) as client:
                return await getattr(client, method)(*arguments, **options)
        return await self.blocking(lambda client: getattr(client, method)(*arguments, **options))

    async def blocking(self, use: Callable[[Any], Any]) -> Any:
        """What `use` makes of a blocking client, in a thread; it lives as long as that runs."""

        def run() -> Any:
            with self._module.InferenceServerClient(self._target) as client:
                return use(client)

        return await asyncio.to_thread(run)

    def input(self, name: str, array: np.ndarray, datatype: str, **options: Any) -> Any:
        """An input with the values of `array`."""
        given = self._module.InferInput(name, list(array.shape), datatype)
        return given.set_data_from_numpy(array, **options)

    def output(self, name: str, **options: Any) -> Any:
        """A wanted output."""
        return self._module.InferRequestedOutput(name, **options)

    def compression(self, name: str) -> Mapping[str, str]:
        """The options that compress a call: both ways over HTTP, where each way has its own, as over gRPC."""
        if self.over_http:
            return {"request_compression_algorithm": name, "response_compression_algorithm": name}
        return {"compression_algorithm": name}


def facts(result: Any) -> tuple[str, str, str]:
    """Model, version and id of an answer."""
    response = result.get_response()
    if isinstance(response, dict):
        return response["model_name"], response["model_version"], response.get("id", "")
    return response.model_name, response.model_version, response.id
