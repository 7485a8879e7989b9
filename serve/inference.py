"""The two things that pass between a dialect and the rest, and the questions about models that stand beside them.

Nothing here knows a protocol, a socket or a runtime.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from model_store.errors import InvalidInput
from model_store.manifest import Manifest, Signature
from serve.operations import ModelList, Operation
from serve.request_record import RequestRecord
from serve.routing import ServeOptions
from serve.statistics import VersionStatistics

Tensors = dict[str, np.ndarray]
"""Tensors by name, in order. BYTES tensors are object arrays of `bytes`."""


class InputsWithRoom(dict[str, np.ndarray]):
    """Inputs whose outputs are wanted in certain memory: `room` by output, as a runtime may use it.

    The room is for the outputs of just these rows. Whoever makes other inputs of them, as a batch or a part of one,
    makes a plain dictionary, and it stays behind.
    """

    __slots__ = ("room",)

    def __init__(self, inputs: Tensors, room: Mapping[str, memoryview]) -> None:
        super().__init__(inputs)
        self.room = room


class Payload(msgspec.Struct):
    """A raw body: one row of a batch for the signature `payload`. `fields` are the named parts of a form, whose `body`
    is empty, and `field_types` the content types of those that are files; `status` is an HTTP status, of answers
    only."""

    body: bytes
    content_type: str
    fields: Mapping[str, bytes] = {}
    headers: Mapping[str, str] = {}
    status: int = 200
    field_types: Mapping[str, str] = {}


class InferenceRequest(msgspec.Struct):
    """What a dialect decodes. One of `inputs`, `read_inputs` and `payload` is set; `deadline` is on the event loop's
    clock, in seconds, and None stands for the model's own limit.

    `version` is text as clients have it: what the config says under `as_version`, else the store's number.
    `read_inputs` is for protocols whose values say no datatype: it is given the signature, once that is known, and
    returns the inputs or raises `InvalidInput`.

    With the signature `payload`, a payload goes to the version's processor or handler and is answered by a payload;
    with any other it is the bytes of the signature's only input.
    """

    model: str
    version: str | None = None
    label: str | None = None
    signature: str | None = None
    id: str = ""
    inputs: Tensors | None = None
    payload: Payload | None = None
    wanted_outputs: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = {}
    priority: int = 0
    """1 is the highest, larger numbers come later; 0 is the default, which comes last."""
    deadline: float | None = None
    read_inputs: Callable[[Signature], Tensors] | None = None
    reply_form: object = None
    """What the dialect that decoded the request wants to know again when it encodes the answer."""
    header: Callable[[str], str | None] | None = None
    """Looks up a header of the call, or metadata of gRPC, by lower-case name; set by the front door."""
    record: RequestRecord | None = None
    """What is noted of it on its way; set by the front door, where somebody takes it at the end."""


class InferenceResponse(msgspec.Struct):
    """What a dialect encodes: the wanted outputs in the wanted order, or a payload.

    `version` is text as in requests, `labels` the names of the model's classes where it has some.
    """

    model: str
    version: str
    id: str = ""
    outputs: Tensors | None = None
    payload: Payload | None = None
    parameters: Mapping[str, Any] = {}
    labels: tuple[str, ...] | None = None
    batched: bool = True
    """Whether the first dimension of the outputs is the batch."""


@dataclass(slots=True, frozen=True)
class ServerQuery:
    """Asks what the server is and whether it lives and is ready."""


@dataclass(slots=True, frozen=True)
class ServerDescription:
    """`ready`: every model that the config names by default can be called, and the gateway is not draining.

    `models` are the names that can be called; `missing` says of the others why they can't.
    """

    ready: bool
    live: bool = True
    models: tuple[str, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True, frozen=True)
class ModelQuery:
    """Asks what a model is and whether it can be called."""

    model: str
    version: str | None = None
    label: str | None = None


@dataclass(slots=True, frozen=True)
class ModelDescription:
    """The answering version, and all versions of the model that can be called, in the text that clients have for them.

    A model that can't be called has no description: asking for it raises `ModelNotReady`.
    """

    manifest: Manifest
    version: str
    versions: tuple[str, ...]
    serve: ServeOptions
    labels: Mapping[str, str] = field(default_factory=dict)
    """Label -> version."""


@dataclass(slots=True, frozen=True)
class AllModelsQuery:
    """Asks for the descriptions of all models that can be called by default."""


@dataclass(slots=True, frozen=True)
class AllModels:
    """Descriptions by name, in the table's order."""

    models: tuple[ModelDescription, ...]


@dataclass(slots=True, frozen=True)
class StatusQuery:
    """Asks which versions of a model are known here and how far each is, failed models included. It is answered by a
    `ModelList` of one; raises `ModelNotFound`."""

    model: str
    version: str | None = None
    label: str | None = None


@dataclass(slots=True, frozen=True)
class StatisticsQuery:
    """Asks what was counted here: of all models, of one, or of one version. Raises `ModelNotFound`."""

    model: str | None = None
    version: str | None = None


@dataclass(slots=True, frozen=True)
class Statistics:
    """Counters of the loaded versions that were asked for."""

    versions: tuple[VersionStatistics, ...]


Query = InferenceRequest | ServerQuery | ModelQuery | AllModelsQuery | StatusQuery | StatisticsQuery | Operation
Answer = InferenceResponse | ServerDescription | ModelDescription | AllModels | ModelList | Statistics


def deadline_after(seconds: float) -> float:
    """The `deadline` of a request that may take so long from now on; to be called on the event loop."""
    return asyncio.get_running_loop().time() + seconds


def output_tensors(response: InferenceResponse) -> Tensors:
    """The tensors of an answer; raises `InvalidInput` when the model answered with a raw body."""
    if response.outputs is None:
        raise InvalidInput(f"model {response.model!r} answers with a raw body, which this protocol can't carry")
    return response.outputs
