"""What both forms of the Open Inference Protocol, HTTP and gRPC, say of this server and read from requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from model_store.errors import InvalidInput, Unsupported
from serve.inference import deadline_after

SERVER_NAME = "onegate"

SIGNATURE = "signature"
"""Request parameter, onegate's own: which of the model's signatures is called, where it has several."""

CLASSIFICATION = "classification"
"""Parameter of a wanted output: how many of its likeliest classes to answer with, as text."""

EXTENSIONS = (
    "classification",
    "model_configuration",
    "model_repository",
    "parameters",
    "schedule_policy",
    "statistics",
)
HTTP_EXTENSIONS = ("binary_tensor_data", *EXTENSIONS)

NO_SHARED_MEMORY = "shared memory is not offered here; send the tensor in the request"
NOT_OFFERED: Mapping[str, str] = {
    "trace": "tracing can't be set over the protocol",
    "logging": "logging can't be set over the protocol",
    "systemsharedmemory": NO_SHARED_MEMORY,
    "cudasharedmemory": NO_SHARED_MEMORY,
}
"""Extensions that the protocol has and this server hasn't, by the path segment of HTTP, and why."""

MAX_TIMEOUT_S = 3600.0
"""A longer timeout of a request counts as this one, the longest that a config can set."""

_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "sequence_id": (0, ""),
    "sequence_start": (False,),
    "sequence_end": (False,),
}
"""Parameters of stateful models, and the values that ask for nothing."""


@dataclass(slots=True)
class RequestParameters:
    """What the parameters of an inference request ask for; `others` are the model's own."""

    signature: str | None = None
    priority: int = 0
    deadline: float | None = None
    """On the running event loop's clock, in seconds."""
    others: dict[str, Any] = field(default_factory=dict)


NO_PARAMETERS = RequestParameters()


def read_parameters(given: Mapping[str, Any]) -> RequestParameters:
    """The parameters of a request, whose values are text, numbers and booleans (protocol: `schedule_policy`,
    `parameters`).

    `timeout` is in microseconds from now, 0 for none. Raises `InvalidInput` for a value of another kind and for keys
    that the protocol reserves, `Unsupported` for sequences.
    """
    read = RequestParameters()
    for key, value in given.items():
        if key == SIGNATURE:
            read.signature = _signature(value)
        elif key == "priority":
            read.priority = _whole(key, value)
        elif key == "timeout":
            read.deadline = _deadline(_whole(key, value))
        elif key in _NEUTRAL:
            if value not in _NEUTRAL[key]:
                raise Unsupported(f"parameter {key!r}: sequences are not offered, models here keep no state")
        elif key.startswith("triton_") or key == "headers":
            raise InvalidInput(f"parameter {key!r:.60} is reserved by the protocol; choose another name")
        else:
            read.others[key] = value
    return read


def class_count(given: Mapping[str, Any]) -> int:
    """How many classes the parameters of a wanted output ask for, 0 for the output itself; raises `InvalidInput`."""
    return _whole(CLASSIFICATION, given.get(CLASSIFICATION, 0))


def platform_of(runtime: str) -> str:
    """The protocol's `platform` text, `<project>_<format>`; clients may not depend on it."""
    return "onnx_onnxv1" if runtime == "onnx" else f"onegate_{runtime}"


def is_number(text: str) -> bool:
    """Whether `text` is a decimal number that `int` reads: digits only, and no more than a number here can need."""
    return text.isascii() and text.isdigit() and len(text) <= 18


def is_whole(value: Any) -> TypeGuard[int]:
    """Whether `value` is a whole number of 0 or more; True is none."""
    return type(value) is int and value >= 0


def _signature(value: Any) -> str | None:
    if not isinstance(value, str):
        raise InvalidInput(f"parameter {SIGNATURE!r} is the name of a signature, got {value!r:.40}")
    return value or None


def _whole(key: str, value: Any) -> int:
    if not is_whole(value):
        raise InvalidInput(f"parameter {key!r} is a whole number of 0 or more, got {value!r:.40}")
    return value


def _deadline(timeout_us: int) -> float | None:
    return deadline_after(min(timeout_us / 1e6, MAX_TIMEOUT_S)) if timeout_us else None
