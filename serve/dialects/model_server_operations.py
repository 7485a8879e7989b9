"""Management calls of MXNet Model Server, TorchServe and SageMaker as operations on models.

What their workers are is replicas here. `initial_workers` of 2 and more asks for as many; with 1, or none, the config's
`executor: auto` decides, and the model answers at once: nobody has to scale it up first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import msgspec

from model_store.errors import InvalidInput, ModelNotFound, Unsupported
from serve.dialects.model_server_replies import Manner
from serve.operations import LoadModel, ScaleModel

_Parameters = TypeVar("_Parameters", bound=msgspec.Struct)
_LARGEST = 2**31 - 1
"""Of the numbers that those servers read."""
_Number = Annotated[int, msgspec.Meta(ge=-_LARGEST - 1, le=_LARGEST)]
_Size = Annotated[int, msgspec.Meta(ge=0, le=_LARGEST)]
_RUNTIMES = ("python", "python3")


class Registration(msgspec.Struct, kw_only=True):
    """The parameters of `POST /models`, in whichever form they came. `response_timeout` and `startup_timeout` are
    seconds, `max_batch_delay` milliseconds; None and 0 leave what the archive or the config says.

    `startup_timeout` and `preload_model` have no counterpart and change nothing that a client could see.
    """

    url: str | None = None
    model_name: str | None = None
    handler: str | None = None
    runtime: str | None = None
    batch_size: _Size = 0
    max_batch_delay: _Size = 0
    initial_workers: _Number = 0
    synchronous: bool | None = None
    response_timeout: _Number = 0
    startup_timeout: _Number = 0
    preload_model: str | bool = False
    s3_sse_kms: bool = False


class Scaling(msgspec.Struct, kw_only=True):
    """The parameters of `PUT /models/{model}`. `number_gpu` and `timeout` are ignored, as the servers do."""

    min_worker: _Number = 1
    max_worker: _Number | None = None
    synchronous: bool = False
    model_version: str | None = None


class Page(msgspec.Struct, kw_only=True):
    """The parameters of `GET /models`."""

    limit: _Number = 100
    next_page_token: _Number = 0


def read_query(given: Mapping[str, str], kind: type[_Parameters]) -> _Parameters:
    """Parameters of a query, whose numbers and booleans are text; unknown ones are passed over, as the servers do.

    Raises `InvalidInput` for a value that is none of its type.
    """
    try:
        return msgspec.convert(dict(given), kind, strict=False)
    except msgspec.ValidationError as error:
        raise _malformed(error) from error


def read_registration(body: bytes) -> Registration:
    """The JSON form of a registration; raises `InvalidInput`."""
    try:
        return msgspec.json.decode(body, type=Registration, strict=False)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(error) from error


def registration_of_query(given: Mapping[str, str], manner: Manner) -> Registration:
    """The query form of a registration, in which MMS counts `response_timeout` in minutes; raises `InvalidInput`."""
    registration = read_query(given, Registration)
    if manner == "mms":
        registration.response_timeout *= 60
    return registration


def is_synchronous(registration: Registration, manner: Manner) -> bool:
    """Whether the answer comes when the model can be called. Where no worker is asked for, none is waited for in the
    background either: either server answers when it has read the archive, and here that is when the model is loaded."""
    if registration.initial_workers <= 0:
        return True
    return manner == "mms" if registration.synchronous is None else registration.synchronous


def load_of(registration: Registration, manner: Manner) -> LoadModel:
    """The operation that registers.

    Raises `InvalidInput`, `ModelNotFound` for a path that leads upwards (as they do), and `Unsupported` for parameters
    that would have another code run than the archive's, or other keys for S3 than the server's.
    """
    if not registration.url:
        raise InvalidInput("Parameter url is required.")
    if ".." in registration.url:
        raise ModelNotFound(f"Relative path is not allowed in url: {registration.url}")
    _refuse_foreign_code(registration)
    return LoadModel(
        model=registration.model_name or None,
        source=registration.url,
        settings=_settings(registration),
        replace=False,
        wait=is_synchronous(registration, manner),
    )


def _refuse_foreign_code(registration: Registration) -> None:
    if registration.runtime and registration.runtime not in _RUNTIMES:
        raise InvalidInput(f"Parameter runtime: expected {' or '.join(_RUNTIMES)}, got {registration.runtime!r:.40}")
    if registration.handler:
        raise Unsupported("Parameter handler: the archive's own handler runs; leave the parameter out")
    if registration.s3_sse_kms:
        raise Unsupported("Parameter s3_sse_kms: keys of S3 are set where the server runs; leave the parameter out")


def _settings(registration: Registration) -> dict[str, Any]:
    """Keys of the model in the config, nested as there."""
    serve: dict[str, Any] = {}
    batching: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    if registration.batch_size:
        batching["max_batch_size"] = registration.batch_size
        settings["handler"] = {"batch_size": registration.batch_size}
    if registration.max_batch_delay:
        batching["max_delay_ms"] = float(registration.max_batch_delay)
    if batching:
        serve["batching"] = batching
    if registration.response_timeout > 0:
        serve["deadline_ms"] = registration.response_timeout * 1000
    if registration.initial_workers > 1:
        serve |= {"executor": "replicas", "replicas": registration.initial_workers}
    if serve:
        settings["serve"] = serve
    return settings


def scale_of(model: str, version: str | None, scaling: Scaling) -> ScaleModel:
    """The operation that scales; raises `InvalidInput`. The smallest number of workers is the number of replicas,
    or with the largest its bounds, where the config has such."""
    most = scaling.min_worker if scaling.max_worker is None else scaling.max_worker
    if most < scaling.min_worker:
        raise InvalidInput("max_worker cannot be less than min_worker.")
    if most < 1:
        raise InvalidInput("min_worker: expected at least 1; unregister a model that is to hold no worker")
    return ScaleModel(
        model=model,
        version=version or scaling.model_version or None,
        replicas=scaling.min_worker,
        most=scaling.max_worker,
        wait=scaling.synchronous,
    )


def _malformed(error: Exception) -> InvalidInput:
    return InvalidInput(f"the parameters are not what they must be: {error}")
