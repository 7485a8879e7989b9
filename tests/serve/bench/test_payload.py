"""Requests made up from a signature, or of a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_store.errors import InvalidInput
from model_store.manifest import PAYLOAD_SIGNATURE, TensorSpec
from serve.bench.payload import made_up, of_file
from serve.client import Model
from serve.client.addresses import address_of
from serve.tls_files import NO_FILES

ADDRESS = address_of("http://127.0.0.1:8080", "og_1_2", NO_FILES)


def model(*inputs: tuple[str, str, tuple[int, ...]]) -> Model:
    return Model("my model", tuple(TensorSpec(*each) for each in inputs), ())


def parts_of(request: bytes) -> tuple[str, dict[str, str], bytes]:
    """First line, headers, body."""
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return first, {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}, body


def inputs_of(request: bytes) -> list[dict[str, Any]]:
    _, headers, body = parts_of(request)
    told = json.loads(body[: int(headers["inference-header-content-length"])])
    found: list[dict[str, Any]] = told["inputs"]
    return found


def test_random_values_fit_the_signature_and_are_the_same_each_time() -> None:
    described = model(("x", "FP32", (-1, 3, -1)), ("n", "INT64", (-1,)), ("t", "BYTES", (-1, 1)))
    payload = made_up(ADDRESS, described, 2)
    assert payload == made_up(ADDRESS, described, 2)
    assert payload.rows == 2
    assert payload.what == "random values: x FP32[2, 3, 8], n INT64[2], t BYTES[2, 1], open axes of 8"
    sent = inputs_of(payload.request)
    assert [(each["name"], each["shape"]) for each in sent] == [("x", [2, 3, 8]), ("n", [2]), ("t", [2, 1])]
    assert payload.request.endswith(b"\x04\x00\x00\x00text" * 2)


def test_a_model_without_batch_dimension_gets_one_row() -> None:
    payload = made_up(ADDRESS, model(("x", "FP16", (4,))), 8)
    assert (payload.rows, payload.what) == (1, "random values: x FP16[4]")


def test_a_model_of_raw_bodies_needs_a_file(tmp_path: Path) -> None:
    described = model(*((spec.name, spec.datatype, tuple(spec.shape)) for spec in PAYLOAD_SIGNATURE.inputs))
    with pytest.raises(InvalidInput, match="takes raw bodies: --input FILE"):
        made_up(ADDRESS, described, 1)
    (tmp_path / "a.jpg").write_bytes(b"jpeg")
    first, headers, body = parts_of(of_file(ADDRESS, described, tmp_path / "a.jpg").request)
    assert (first, headers["content-type"], body) == ("POST /predict/my%20model HTTP/1.1", "image/jpeg", b"jpeg")


def test_tensors_of_a_file_are_sent(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.ones((5, 2), np.float32))
    payload = of_file(ADDRESS, model(("x", "FP32", (-1, 2))), tmp_path / "x.npz")
    assert (payload.rows, payload.what) == (5, "5 rows of x.npz")
    assert payload.request.endswith(np.ones(10, np.float32).tobytes())


def test_a_request_is_whole() -> None:
    first, headers, body = parts_of(made_up(ADDRESS, model(("x", "FP32", (-1,))), 1).request)
    assert first == "POST /v2/models/my%20model/infer HTTP/1.1"
    assert (headers["host"], headers["content-length"]) == ("127.0.0.1:8080", str(len(body)))
    assert headers["authorization"] == "Bearer og_1_2"
