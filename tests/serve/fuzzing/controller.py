"""What a controller would answer to operations, without a store: each is the edit that it is, of a config that stays
as it was, so that the ten-thousandth input meets what the first one met."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from model_store.errors import InvalidInput, ModelNotFound
from serve.config import Config
from serve.control import desired_edits as edits
from serve.control.allowed_sources import admitted
from serve.control.desired import Change
from serve.control.desired_edits import Known
from serve.control.model_documents import Document
from serve.control.process_logs import WantedLines
from serve.operations import (
    InspectModel,
    ListModels,
    LoadModel,
    ModelList,
    ModelStatus,
    Operation,
    ReplaceModels,
    ScaleModel,
    SetDefault,
    UnloadModel,
    VersionStatus,
)
from serve.rollouts.comparison_report import describe_comparison
from serve.rollouts.observations import Observations
from serve.router import Router
from serve.routing import ModelRoute, RoutingTable
from tests.serve.tiny_versions import entry

MODELS: list[dict[str, Any]] = [
    {"name": "double", "versions": [{"version": 3, "label": "stable", "traffic": 100}, {"version": 4, "traffic": 0}]},
    {"name": "echo", "source": "/exports/echo.mar"},
]
CONFIG = Config.model_validate({"store": "/store", "models": MODELS, "allowed_sources": ["file:///exports/*"]})

_VERSIONS = tuple(
    VersionStatus(version=version, state=state, reason=reason, source=f"/exports/{version}.onnx", replicas_ready=1)
    for version, state, reason in (("3", "READY", None), ("4", "FAILED", "it is\ndamaged"), ("1.0", "IDLE", None))
)
_STATUSES = {model["name"]: ModelStatus(model["name"], _VERSIONS) for model in MODELS}


def _called(model: str, version: Document) -> str | None:
    return str(version.get("as_version") or version.get("version") or "1")


def _earlier(model: str) -> Document | None:
    return {"name": "earlier", "source": "/exports/earlier.onnx"} if model == "earlier" else None


def _stored(model: str) -> Sequence[int]:
    return (1, 2) if model == "stored" else ()


_KNOWN = Known(_called, _earlier, _stored)


def administer(operation: Operation) -> ModelList:
    """The models concerned; raises as the edits do."""
    if isinstance(operation, ListModels):
        return ModelList(tuple(_STATUSES.values()))
    if isinstance(operation, InspectModel):
        return _status(operation.model)
    _edited(operation)
    if isinstance(operation, ReplaceModels):
        return ModelList(tuple(_STATUSES.values()))
    assert isinstance(operation, LoadModel | UnloadModel | ScaleModel | SetDefault)
    return ModelList((ModelStatus(operation.model or "named", _VERSIONS),))


def _status(model: str) -> ModelList:
    if model not in _STATUSES:
        raise ModelNotFound(f"model {model!r} is not loaded", model=model)
    return ModelList((_STATUSES[model],))


def _edited(operation: Operation) -> Config:
    if isinstance(operation, LoadModel):
        return _loaded(operation)
    if isinstance(operation, UnloadModel):
        return edits.unload(CONFIG, operation, _KNOWN)
    if isinstance(operation, ScaleModel):
        return edits.scale(CONFIG, operation, _KNOWN)
    if isinstance(operation, SetDefault):
        return edits.set_default(CONFIG, operation, _KNOWN)
    assert isinstance(operation, ReplaceModels)
    for model in operation.models:
        for place in (model, *model.get("versions", ())):
            if "source" in place:
                _admit(place["source"])
    return edits.replace_all(CONFIG, operation)


def _loaded(operation: LoadModel) -> Config:
    made: Document | None = None
    if operation.source is not None:
        made = {"source": _admit(operation.source)}
    if operation.model is None:
        raise InvalidInput("expected the name of the model to load, got none")
    if operation.files:
        made = {"version": 7}
    return edits.load(CONFIG, operation, _KNOWN, made)


def _admit(source: str) -> str:
    return admitted(source, CONFIG.allowed_sources, CONFIG.gateway.model_folder)


class Authority:
    """What the management port's own paths ask."""

    def state(self) -> dict[str, Any]:
        return {"generation": 1, "models": []}

    def comparison(self, model: str) -> dict[str, Any]:
        routes = {"double": ModelRoute(((1, 90), (2, 10)))}
        table = RoutingTable(1, "./store", (entry(version=1), entry(version=2)), routes)
        return describe_comparison(model, Router(table), Observations())

    async def plan(self, config: Config) -> list[Change]:
        return []

    async def apply(self, config: Config, generation: int | None = None) -> list[Change]:
        return []

    async def logs(self, wanted: WantedLines) -> dict[str, Any]:
        return {"lines": [], "next": wanted.after, "epoch": 1}

    def request_shutdown(self) -> None:
        pass
