"""The two things that pass between a dialect and the rest, and the questions about models that stand beside them.

Nothing here knows a protocol, a socket or a runtime.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from model_store.errors import InvalidInput
from model_store.manifest import Manifest

Tensors = dict[str, np.ndarray]
"""Tensors by name, in order. BYTES tensors are object arrays of `bytes`."""


@dataclass(slots=True)
class Payload:
    """A raw body: one row of a batch for the signature `payload`. `fields` are the named parts of a form, whose `body`
    is empty, and `field_types` the content types of those that are files; `status` is an HTTP status, of answers
    only."""

    body: bytes
    content_type: str
    fields: Mapping[str, bytes] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200
    field_types: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class InferenceRequest:
    """What a dialect decodes. Either `inputs` or `payload` is set; `deadline` is on the event loop's clock, in seconds,
    and None stands for the model's own limit.

    With the signature `payload`, a payload goes to the version's processor or handler and is answered by a payload;
    with any other it is the bytes of the signature's only input.
    """

    model: str
    version: int | None = None
    label: str | None = None
    signature: str | None = None
    id: str = ""
    inputs: Tensors | None = None
    payload: Payload | None = None
    wanted_outputs: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    priority: int = 0
    deadline: float | None = None
    reply_form: object = None
    """What the dialect that decoded the request wants to know again when it encodes the answer."""


@dataclass(slots=True)
class InferenceResponse:
    """What a dialect encodes: the wanted outputs in the wanted order, or a payload."""

    model: str
    version: int
    id: str = ""
    outputs: Tensors | None = None
    payload: Payload | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True, frozen=True)
class ServerQuery:
    """Asks what the server is and whether it lives and is ready."""


@dataclass(slots=True, frozen=True)
class ServerDescription:
    """`ready`: every model that the config names by default can be called, and the gateway is not draining."""

    ready: bool
    live: bool = True


@dataclass(slots=True, frozen=True)
class ModelQuery:
    """Asks what a model is and whether it can be called."""

    model: str
    version: int | None = None
    label: str | None = None


@dataclass(slots=True, frozen=True)
class ModelDescription:
    """The answering version's manifest, and all versions of the model that can be called by number.

    A model that can't be called has no description: asking for it raises `ModelNotReady`.
    """

    manifest: Manifest
    versions: tuple[int, ...]


Query = InferenceRequest | ServerQuery | ModelQuery
Answer = InferenceResponse | ServerDescription | ModelDescription


def output_tensors(response: InferenceResponse) -> Tensors:
    """The tensors of an answer; raises `InvalidInput` when the model answered with a raw body."""
    if response.outputs is None:
        raise InvalidInput(f"model {response.model!r} answers with a raw body, which this protocol can't carry")
    return response.outputs
