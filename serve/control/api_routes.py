"""Routes of the management port that the commands ask: state, metrics, plan, apply, rollouts, comparisons, history,
logs and shutdown."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import msgspec

from model_store.errors import ConfigError
from serve.config import Config, parse_config
from serve.control.console_routes import ConsoleAuthority
from serve.control.desired import Change
from serve.control.history import LIMIT, History
from serve.control.management_routes import Handler, Query, moment, whole_number
from serve.control.planned_edits import Plannable
from serve.control.process_logs import MAX_TOLD, WantedLines
from serve.dialects.base import HttpReply, HttpRequest
from serve.management_paths import METRICS_PATH
from serve.metrics.exposition import CONTENT_TYPE
from serve.operations import ModelList, Operation
from serve.rollouts.calls import MODEL_CALLS


class Authority(ConsoleAuthority, Protocol):
    """What the management port asks of the controller."""

    def state(self) -> dict[str, Any]:
        """The whole state."""

    def comparison(self, model: str) -> dict[str, Any]:
        """How the versions of a model do beside each other; raises `ModelNotFound`."""

    async def metrics(self) -> bytes:
        """The page for Prometheus; raises `ModelNotReady` where it is not known yet."""

    async def plan(self, config: Config) -> list[Change]:
        """What applying would change."""

    async def apply(self, config: Config, generation: int | None = None) -> list[Change]:
        """Makes the config the desired state, in place of that `generation` where one is given."""

    async def change(self, operation: Operation) -> ModelList:
        """What the operation has made of its models."""

    async def plan_change(self, operation: Plannable) -> list[Change]:
        """What the operation would change."""

    async def history(self, model: str | None, limit: int) -> History:
        """Who changed what."""

    async def logs(self, wanted: WantedLines) -> dict[str, Any]:
        """Log lines of all processes."""

    def request_shutdown(self) -> None:
        """Ends the gateway."""


class ApiRoutes:
    """What answers each method and route."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self.handlers: dict[tuple[str, str], Handler] = {
            ("GET", "/api/state"): self._state,
            ("GET", METRICS_PATH): self._metrics,
            ("GET", "/api/models/{model}/comparison"): self._comparison,
            ("PUT", "/api/config"): self._config,
            ("GET", "/api/history"): self._history,
            ("GET", "/api/logs"): self._logs,
            ("POST", "/api/shutdown"): self._shutdown,
            **{route: partial(self._change, decode) for route, decode in MODEL_CALLS.items()},
        }

    async def _state(self, model: str, request: HttpRequest, query: Query) -> Any:
        return self._authority.state()

    async def _metrics(self, model: str, request: HttpRequest, query: Query) -> Any:
        return HttpReply(200, await self._authority.metrics(), [("content-type", CONTENT_TYPE)])

    async def _comparison(self, model: str, request: HttpRequest, query: Query) -> Any:
        return self._authority.comparison(model)

    async def _config(self, model: str, request: HttpRequest, query: Query) -> Any:
        try:
            text = request.body.decode()
        except UnicodeDecodeError as error:
            raise ConfigError(f"the config is not UTF-8 text: {error.reason}") from error
        config = parse_config(text, "the config sent", Path("/"))
        generation = whole_number(query, "generation")
        if _only_plans(query):
            # From before the plan: what comes while it is made is not in it.
            made_from = self._generation()
            return {"applied": False, "changes": await self._authority.plan(config), "generation": made_from}
        changes = await self._authority.apply(config, generation)
        return {"applied": True, "changes": changes, "generation": self._generation()}

    def _generation(self) -> int:
        return int(self._authority.state()["generation"])

    async def _change(
        self, decode: Callable[[str, bytes], Plannable], model: str, request: HttpRequest, query: Query
    ) -> Any:
        operation = decode(model, request.body)
        if _only_plans(query):
            made_from = self._generation()
            changes = await self._authority.plan_change(operation)
            return {"applied": False, "changes": changes, "generation": made_from}
        planned_from = whole_number(query, "generation")
        if planned_from is not None:
            operation = msgspec.structs.replace(operation, generation=planned_from)
        changed = await self._authority.change(operation)
        return {"generation": self._generation(), "models": changed.models}

    async def _history(self, model: str, request: HttpRequest, query: Query) -> Any:
        limit = whole_number(query, "limit")
        return await self._authority.history(query.get("model", [None])[-1], LIMIT if limit is None else limit)

    async def _logs(self, model: str, request: HttpRequest, query: Query) -> Any:
        after, limit = whole_number(query, "after"), whole_number(query, "limit")
        return await self._authority.logs(
            WantedLines(
                query.get("model", [None])[-1],
                after or 0,
                moment(query, "since"),
                MAX_TOLD if limit is None else min(limit, MAX_TOLD),
            )
        )

    async def _shutdown(self, model: str, request: HttpRequest, query: Query) -> Any:
        self._authority.request_shutdown()
        return {"stopping": True}


def _only_plans(query: Query) -> bool:
    return query.get("plan", ["false"])[-1] == "true"
