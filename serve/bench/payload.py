"""The request of a benchmark: tensors made up from the model's signature, or those of a file."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from model_store.datatypes import DTYPES, is_floating
from model_store.errors import InvalidInput
from model_store.manifest import TensorSpec
from serve.client import Model
from serve.client.addresses import Address
from serve.client.http_protocol import HttpProtocol, Message
from serve.client.questions import Question, Target
from serve.commands.input_files import content_type_of, goes_as_it_is, read_inputs, takes_bodies_only
from serve.inference import Tensors

MADE_UP_AXIS = 8
"""How long an axis is made that the signature leaves open, but for the first, which counts rows."""

PATIENCE_S = 60.0
"""The deadline that the request tells the endpoint."""


class Payload(msgspec.Struct, frozen=True):
    """The whole HTTP request, how many rows it has, and what it is made of, in words."""

    request: bytes
    rows: int
    what: str


def made_up(address: Address, model: Model, rows: int) -> Payload:
    """Random tensors for the model's default signature, the same in each run. Raises `InvalidInput` for a model that
    takes raw bodies only."""
    if takes_bodies_only(model):
        raise InvalidInput(f"model {model.name!r} takes raw bodies: --input FILE names one")
    drawn = np.random.default_rng(0)
    inputs = {spec.name: _tensor(spec, rows, drawn) for spec in model.inputs}
    shapes = ", ".join(f"{spec.name} {spec.datatype}{list(inputs[spec.name].shape)}" for spec in model.inputs)
    opened = any(-1 in spec.shape[1:] for spec in model.inputs)
    note = f", open axes of {MADE_UP_AXIS}" if opened else ""
    what = f"random values: {shapes}{note}"
    return Payload(_of_tensors(address, model.name, inputs), rows if _is_batched(model) else 1, what)


def of_file(address: Address, model: Model, file: Path) -> Payload:
    """What `onegate infer` would send of that file; raises `InvalidInput` as it does."""
    if goes_as_it_is(file, model):
        exchange = HttpProtocol(address).predict(Target(model.name), file.read_bytes(), content_type_of(file))
        return Payload(_whole(exchange.ask(PATIENCE_S)), 1, f"{file.name} as it is")
    inputs = read_inputs(file, model.inputs, 1.0)
    rows = len(next(iter(inputs.values()))) if _is_batched(model) else 1
    return Payload(_of_tensors(address, model.name, inputs), rows, f"{rows} rows of {file.name}")


def _is_batched(model: Model) -> bool:
    return all(spec.shape[:1] == (-1,) for spec in model.inputs)


def _of_tensors(address: Address, model: str, inputs: Tensors) -> bytes:
    return _whole(HttpProtocol(address).infer(Question(Target(model), inputs)).ask(PATIENCE_S))


def _whole(message: Message) -> bytes:
    return b"".join(message)


def _tensor(spec: TensorSpec, rows: int, drawn: np.random.Generator) -> np.ndarray:
    shape = [MADE_UP_AXIS if length < 0 else length for length in spec.shape]
    if spec.shape[:1] == (-1,):
        shape[0] = rows
    dtype = DTYPES[spec.datatype]
    if dtype.kind == "O":
        return np.full(shape, b"text", dtype)
    if is_floating(dtype):
        return drawn.random(shape, np.float32).astype(dtype)
    # 0 and 1 are an index, a token and a class of about anything.
    return drawn.integers(0, 2, shape).astype(dtype)
