"""What MXNet Model Server and TorchServe answer to management calls: sentences, pages and descriptions.

Without HTTP: TorchServe's gRPC service answers with the same texts. MMS knows one version of a model, and describes the
one that answers by default.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from model_store.errors import ModelNotFound
from serve.dialects.model_server_replies import Manner
from serve.operations import ModelList, ModelStatus, VersionStatus

LARGEST_PAGE = 100
ALL_VERSIONS = "all"
"""In the place of a version: every one of them."""

PROCESSING = "Processing worker updates..."
IN_PROGRESS = "Workers scaling in progress..."
PARTIAL: dict[Manner, int] = {"torchserve": 206, "mms": 210}
"""The status of `IN_PROGRESS`."""


def registered_text(model: str, version: str, workers: int, manner: Manner) -> str:
    """That a model was registered with so many workers."""
    if manner == "mms":
        return "Workers scaled" if workers > 0 else f'Model "{model}" registered'
    started = f'Model "{model}" Version: {version} registered with {max(0, workers)} initial workers'
    return started if workers > 0 else f"{started}. Use scale workers API to add workers for the model."


def scaled_text(model: str, version: str | None, workers: int, manner: Manner) -> str:
    """That a model has so many workers now; `version` is what the client named."""
    if manner == "mms":
        return "Workers scaled"
    return f"Workers scaled to {workers} for model: {model}" + (f", version: {version}" if version else "")


def default_text(model: str, version: str) -> str:
    """That a version answers by default now."""
    return f'Default version successfully updated for model "{model}" to "{version}"'


def unregistered_text(model: str) -> str:
    """That a model, or a version of it, is gone."""
    return f'Model "{model}" unregistered'


def conflict_text(model: str, version: str | None, manner: Manner) -> str:
    """That a model of that name, or in TorchServe that version of it, is there already."""
    if manner == "torchserve" and version is not None:
        return f"Model version {version} is already registered for model {model}"
    return f"Model {model} is already registered."


def page_of(models: ModelList, limit: int = LARGEST_PAGE, token: int = 0) -> dict[str, Any]:
    """A page of the models by name. There is a token for the next page even where that will be empty."""
    if not 0 <= limit <= LARGEST_PAGE:
        limit = LARGEST_PAGE
    start = max(0, token)
    listed = sorted(models.models, key=lambda each: each.model)
    page: dict[str, Any] = {"nextPageToken": str(start + limit)} if start + limit <= len(listed) else {}
    page["models"] = [{"modelName": each.model, "modelUrl": _url(each)} for each in listed[start : start + limit]]
    return page


def _url(model: ModelStatus) -> str:
    return (default_version(model).source or "") if model.versions else ""


def describe(model: ModelStatus, version: str | None, manner: Manner) -> list[dict[str, Any]] | dict[str, Any]:
    """The description of the version that answers by default, of the named one, or of all.

    A list in TorchServe's manner, an object in MMS's. Raises `ModelNotFound`.
    """
    described = [_description(model.model, each, manner) for each in chosen_versions(model, version)]
    return described if manner == "torchserve" else described[0]


def default_version(model: ModelStatus) -> VersionStatus:
    """The version that answers by default, else the newest; raises `ModelNotFound` where there is none."""
    _refuse_empty(model)
    return next((each for each in model.versions if each.default), model.versions[-1])


def registered_version(model: ModelStatus, url: str) -> VersionStatus:
    """The version that was made of `url`, else the newest; raises `ModelNotFound` where there is none."""
    _refuse_empty(model)
    # A name of the model store has become a path.
    made = (each for each in model.versions if f"/{each.source or ''}".endswith(f"/{url.strip('/')}"))
    return next(made, model.versions[-1])


def chosen_versions(model: ModelStatus, version: str | None) -> Sequence[VersionStatus]:
    """The version that answers by default, the one of that name, or with `ALL_VERSIONS` all; raises `ModelNotFound`."""
    if version is None:
        return [default_version(model)]
    _refuse_empty(model)
    if version == ALL_VERSIONS:
        return model.versions
    found = [each for each in model.versions if each.version == version]
    if not found:
        listed = ", ".join(each.version for each in model.versions)
        raise ModelNotFound(f"versions: {listed}", model=model.model, version=version)
    return found


def workers_missing(versions: Sequence[VersionStatus]) -> bool:
    """Whether there are fewer workers than were asked for."""
    return any(each.replicas_ready < each.replicas_wanted for each in versions)


def _refuse_empty(model: ModelStatus) -> None:
    if not model.versions:
        raise ModelNotFound(f"model {model.model!r} has no version", model=model.model)


def _description(model: str, version: VersionStatus, manner: Manner) -> dict[str, Any]:
    """Whatever is not known here is left out, as they leave out what is null."""
    ready = version.state in ("READY", "IDLE")
    described: dict[str, Any] = {
        "modelName": model,
        "modelVersion": version.version,
        "modelUrl": version.source,
        "engine": version.framework if manner == "mms" else None,
        "runtime": "python",
        "minWorkers": version.replicas_min,
        "maxWorkers": version.replicas_max,
        "batchSize": version.max_batch_size,
        "maxBatchDelay": math.ceil(version.max_delay_ms),
        **(_of_torchserve(version) if manner == "torchserve" else {}),
        "status": None if ready else f"{version.state}: {version.reason}" if version.reason else version.state,
        "loadedAtStartup": version.at_start,
        "workers": [_worker(number, manner) for number in range(version.replicas_ready)],
    }
    return {name: value for name, value in described.items() if value is not None}


def _of_torchserve(version: VersionStatus) -> dict[str, Any]:
    """TorchServe's further fields: most are of features that a model here does not have."""
    return {
        "responseTimeout": math.ceil(version.deadline_ms / 1000),
        "startupTimeout": 0,
        "maxRetryTimeoutInSec": 0,
        "clientTimeoutInMills": 0,
        "parallelType": "",
        "parallelLevel": 1,
        "deviceType": "cpu",
        "deviceIds": [],
        "continuousBatching": False,
        "useJobTicket": False,
        "useVenv": False,
        "stateful": False,
        "sequenceMaxIdleMSec": 0,
        "sequenceTimeoutMSec": 0,
        "maxNumSequence": 0,
        "maxSequenceJobQueueSize": 0,
    }


def _worker(number: int, manner: Manner) -> dict[str, Any]:
    """Replicas are all that is known of them: ready. Their numbers are theirs in this list only."""
    worker: dict[str, Any] = {"id": str(9000 + number), "status": "READY", "gpu": False, "memoryUsage": 0}
    return {**worker, "gpuUsage": "N/A"} if manner == "torchserve" else worker
