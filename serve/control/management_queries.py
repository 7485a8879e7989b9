"""What dialects ask on the management port: operations, and what can be told of models without running them."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

from model_store.errors import ModelNotFound, ModelNotReady
from serve.control.fleet import Fleet
from serve.dialects.base import NoSuchRoute
from serve.inference import (
    Answer,
    InferenceRequest,
    ModelDescription,
    ModelQuery,
    Query,
    ServerDescription,
    ServerQuery,
)
from serve.operations import ModelList, Operation
from serve.router import Router


class Administers(Protocol):
    """What answers operations."""

    def answer(self, operation: Operation) -> Awaitable[ModelList]:
        """As `Administration` does."""


class ManagementQueries:
    """Answers queries from the newest table and the administration."""

    def __init__(self, fleet: Fleet, administration: Administers) -> None:
        self._fleet = fleet
        self._administration = administration

    async def answer(self, query: Query) -> Answer:
        """The answer; raises `NoSuchRoute` for what the endpoint's ports answer, and what the query raises."""
        if isinstance(query, Operation):
            return await self._administration.answer(query)
        if isinstance(query, ServerQuery):
            return self._describe_server()
        if isinstance(query, ModelQuery):
            return self._describe_model(query)
        what = "inference" if isinstance(query, InferenceRequest) else "this"
        raise NoSuchRoute(f"Not Found: {what} is answered on the endpoint's own ports")

    def _describe_server(self) -> ServerDescription:
        table = self._fleet.table
        missing = table.unavailable
        return ServerDescription(ready=not missing, models=tuple(table.routes), missing=missing)

    def _describe_model(self, query: ModelQuery) -> ModelDescription:
        router = Router(self._fleet.table)
        key = router.resolve(query.model, query.version, query.label)
        state = self._fleet.versions.get(key)
        if state is None:
            raise ModelNotFound(f"model {query.model!r} is not loaded", model=query.model)
        if state.phase != "READY":
            raise ModelNotReady(f"model {query.model!r} version {router.name_of(key)} is {state.phase.lower()}")
        entry = state.entry
        return ModelDescription(
            entry.manifest, router.name_of(key), router.versions(key[0]), entry.serve, router.labels(key[0])
        )
