"""The request of a benchmark: tensors made up from the model's signature, or those of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec
import numpy as np

from model_store.datatypes import DTYPES, is_floating
from model_store.errors import InvalidInput
from serve.access.callers import bearer
from serve.commands.input_files import PAYLOAD_INPUTS, content_type_of, goes_as_it_is, read_inputs
from serve.inference import Tensors
from serve.inference_client import HEADER_LENGTH, infer_body

MADE_UP_AXIS = 8
"""How long an axis is made that the signature leaves open, but for the first, which counts rows."""


class Payload(msgspec.Struct, frozen=True):
    """What is posted to `path`, how many rows it has, and what it is made of, in words."""

    path: str
    body: bytes
    headers: dict[str, str]
    rows: int
    what: str

    def request(self, url: str, key: str | None) -> bytes:
        """The whole HTTP request to the endpoint at `url`."""
        fields = {"host": urlsplit(url).netloc, "content-length": str(len(self.body))} | self.headers | bearer(key)
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return f"POST {self.path} HTTP/1.1\r\n{head}\r\n".encode() + self.body


def made_up(metadata: dict[str, Any], rows: int) -> Payload:
    """Random tensors for the default signature of that v2 metadata, the same in each run. Raises `InvalidInput` for a
    model that takes raw bodies only."""
    described = metadata["inputs"]
    if [spec["name"] for spec in described] == PAYLOAD_INPUTS:
        raise InvalidInput(f"model {metadata['name']!r} takes raw bodies: --input FILE names one")
    drawn = np.random.default_rng(0)
    inputs = {spec["name"]: _tensor(spec, rows, drawn) for spec in described}
    shapes = ", ".join(f"{spec['name']} {spec['datatype']}{list(inputs[spec['name']].shape)}" for spec in described)
    opened = any(-1 in spec["shape"][1:] for spec in described)
    note = f", open axes of {MADE_UP_AXIS}" if opened else ""
    batched = all(spec["shape"][:1] == [-1] for spec in described)
    return _of_tensors(metadata["name"], inputs, rows if batched else 1, f"random values: {shapes}{note}")


def of_file(metadata: dict[str, Any], file: Path) -> Payload:
    """What `onegate infer` would send of that file; raises `InvalidInput` as it does."""
    name = metadata["name"]
    if goes_as_it_is(file, metadata):
        headers = {"content-type": content_type_of(file)}
        return Payload(f"/predictions/{quote(name)}", file.read_bytes(), headers, 1, f"{file.name} as it is")
    inputs = read_inputs(file, metadata["inputs"], 1.0)
    batched = all(spec["shape"][:1] == [-1] for spec in metadata["inputs"])
    rows = len(next(iter(inputs.values()))) if batched else 1
    return _of_tensors(name, inputs, rows, f"{rows} rows of {file.name}")


def _of_tensors(model: str, inputs: Tensors, rows: int, what: str) -> Payload:
    body, header_length = infer_body(inputs)
    headers = {"content-type": "application/octet-stream", HEADER_LENGTH: str(header_length)}
    return Payload(f"/v2/models/{quote(model)}/infer", body, headers, rows, what)


def _tensor(spec: dict[str, Any], rows: int, drawn: np.random.Generator) -> np.ndarray:
    shape = [MADE_UP_AXIS if length < 0 else length for length in spec["shape"]]
    if spec["shape"][:1] == [-1]:
        shape[0] = rows
    dtype = DTYPES[spec["datatype"]]
    if dtype.kind == "O":
        return np.full(shape, b"text", dtype)
    if is_floating(dtype):
        return drawn.random(shape, np.float32).astype(dtype)
    # 0 and 1 are an index, a token and a class of about anything.
    return drawn.integers(0, 2, shape).astype(dtype)
