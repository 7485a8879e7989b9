"""KServe's own clients against an endpoint, as a program: what they were answered goes out as JSON.

`python kserve_calls.py URL HOST:PORT MODEL INPUT` calls MODEL with the rows that come in as JSON; it needs `kserve`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig

ROWS = np.array(json.load(sys.stdin), np.float32)


def request(model: str, name: str, binary: bool) -> InferRequest:
    given = InferInput(name, list(ROWS.shape), "FP32")
    given.set_data_from_numpy(ROWS, binary_data=binary)
    return InferRequest(model, [given], request_id="k1")


def answered(response: Any) -> dict[str, Any]:
    return {
        "model": response.model_name,
        "id": response.id,
        "outputs": {output.name: output.as_numpy().tolist() for output in response.outputs},
    }


async def over_http(url: str, model: str, name: str) -> dict[str, Any]:
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    old = InferenceRESTClient(RESTConfig(protocol="v1"))
    try:
        return {
            "live": await client.is_server_live(url),
            "ready": await client.is_server_ready(url),
            "model ready": await client.is_model_ready(url, model),
            "nobody ready": await client.is_model_ready(url, "nobody"),
            "json": answered(await client.infer(url, request(model, name, binary=False), model_name=model)),
            "binary": answered(await client.infer(url, request(model, name, binary=True), model_name=model)),
            "v1": await old.infer(url, {"instances": [{name: row} for row in ROWS.tolist()]}, model_name=model),
        }
    finally:
        await client.close()
        await old.close()


async def over_grpc(target: str, model: str, name: str) -> dict[str, Any]:
    client = InferenceGRPCClient(target)
    try:
        return {
            "live": await client.is_server_live(),
            "ready": await client.is_server_ready(),
            "model ready": await client.is_model_ready(model),
            "typed": answered(await client.infer(request(model, name, binary=False))),
            "raw": answered(await client.infer(request(model, name, binary=True))),
        }
    finally:
        await client.close()


async def main(url: str, target: str, model: str, name: str) -> None:
    told = {"http": await over_http(url, model, name), "grpc": await over_grpc(target, model, name)}
    json.dump(told, sys.stdout)


asyncio.run(main(*sys.argv[1:]))
