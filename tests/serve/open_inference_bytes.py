"""Requests of Open Inference over HTTP, by hand, and what they are read as."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from serve.dialects.base import HttpRequest
from serve.dialects.open_inference_http import OpenInferenceHttp
from serve.inference import InferenceRequest

DIALECT = OpenInferenceHttp()
JSON = ("content-type", "application/json")
UNPACKED = ("cache-control", "no-transform")
OCTETS = ("content-type", "application/octet-stream")
LENGTH = "inference-header-content-length"


def get(path: str, method: str = "GET") -> HttpRequest:
    return HttpRequest(method, path, b"", {}.get)


def post(body: Any, binary: bytes | None = None, path: str = "/v2/models/m/infer") -> HttpRequest:
    """An inference request; `binary` follows the JSON, whose length a header tells then."""
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {} if binary is None else {LENGTH: str(len(text))}
    return HttpRequest("POST", path, text + (binary or b""), headers.get)


def decode(request: HttpRequest) -> InferenceRequest:
    query = DIALECT.decode(request)
    assert isinstance(query, InferenceRequest)
    return query


def tensor(name: str = "x", shape: tuple[int, ...] = (1, 2), datatype: str = "FP32", **more: Any) -> dict[str, Any]:
    return {"name": name, "shape": list(shape), "datatype": datatype, **more}


def binary(name: str = "x", shape: tuple[int, ...] = (1, 2), datatype: str = "FP32", size: Any = 8) -> dict[str, Any]:
    return tensor(name, shape, datatype, parameters={"binary_data_size": size})


FLOATS = np.array([[1.5, -2]], np.float32)
GOOD = {"inputs": [tensor(data=[1, 2])]}
