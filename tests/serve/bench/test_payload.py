"""Requests made up from a signature, or of a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_store.errors import InvalidInput
from model_store.manifest import PAYLOAD_SIGNATURE
from serve.bench.payload import made_up, of_file
from serve.inference_client import HEADER_LENGTH


def metadata(*inputs: tuple[str, str, list[int]], **keys: Any) -> dict[str, Any]:
    described = [{"name": name, "datatype": datatype, "shape": shape} for name, datatype, shape in inputs]
    return {"name": "my model", "inputs": described} | keys


def header_of(body: bytes, headers: dict[str, str]) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(body[: int(headers[HEADER_LENGTH])])
    return told


def test_random_values_fit_the_signature_and_are_the_same_each_time() -> None:
    described = metadata(("x", "FP32", [-1, 3, -1]), ("n", "INT64", [-1]), ("t", "BYTES", [-1, 1]))
    payload = made_up(described, 2)
    assert payload == made_up(described, 2)
    assert (payload.path, payload.rows) == ("/v2/models/my%20model/infer", 2)
    assert payload.what == "random values: x FP32[2, 3, 8], n INT64[2], t BYTES[2, 1], open axes of 8"
    sent = header_of(payload.body, payload.headers)["inputs"]
    assert [(each["name"], each["shape"]) for each in sent] == [("x", [2, 3, 8]), ("n", [2]), ("t", [2, 1])]
    assert payload.body.endswith(b"\x04\x00\x00\x00text" * 2)


def test_a_model_without_batch_dimension_gets_one_row() -> None:
    payload = made_up(metadata(("x", "FP16", [4])), 8)
    assert (payload.rows, payload.what) == (1, "random values: x FP16[4]")


def test_a_model_of_raw_bodies_needs_a_file(tmp_path: Path) -> None:
    described = metadata(*((spec.name, spec.datatype, list(spec.shape)) for spec in PAYLOAD_SIGNATURE.inputs))
    with pytest.raises(InvalidInput, match="takes raw bodies: --input FILE"):
        made_up(described, 1)
    (tmp_path / "a.jpg").write_bytes(b"jpeg")
    payload = of_file(described, tmp_path / "a.jpg")
    assert (payload.path, payload.body, payload.headers) == (
        "/predictions/my%20model",
        b"jpeg",
        {"content-type": "image/jpeg"},
    )


def test_tensors_of_a_file_are_sent(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.ones((5, 2), np.float32))
    payload = of_file(metadata(("x", "FP32", [-1, 2])), tmp_path / "x.npz")
    assert (payload.rows, payload.what) == (5, "5 rows of x.npz")
    assert payload.body.endswith(np.ones(10, np.float32).tobytes())


def test_a_request_is_whole() -> None:
    payload = made_up(metadata(("x", "FP32", [-1])), 1)
    head, _, body = payload.request("http://127.0.0.1:8080", "og_1_2").partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /v2/models/my%20model/infer HTTP/1.1"
    assert {"host: 127.0.0.1:8080", f"content-length: {len(body)}", "Authorization: Bearer og_1_2"} <= set(lines)
    assert body == payload.body
