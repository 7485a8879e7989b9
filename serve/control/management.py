"""The management port's HTTP interface: the console, `/metrics`, and under `/api` state, plan, apply, rollouts,
comparisons, versions, history, logs and shutdown, JSON both ways; everything else is for the dialects whose management
calls it takes.

Errors of these paths are `{"error": text, "kind": name}` under the kind's status.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from contextlib import nullcontext
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

import msgspec

from model_store.errors import ERROR_KINDS, ConfigError, Forbidden, InternalError, InvalidInput, OnegateError
from serve.access.callers import Caller
from serve.access.guard import Guard
from serve.access.refused import RefusedCalls
from serve.access.scopes import route_need
from serve.caller import CALLER, USER_HEADER, claimed_user
from serve.config import Config, parse_config
from serve.console.files import ConsoleFiles
from serve.control.console_routes import ConsoleAuthority, console_routes
from serve.control.desired import Change
from serve.control.history import LIMIT, History
from serve.control.management_routes import Handler, json_reply, whole_number
from serve.control.planned_edits import Plannable
from serve.control.process_logs import MAX_TOLD, WantedLines
from serve.dialects.base import HttpReply, HttpRequest, own_error
from serve.errors import presentable
from serve.front_doors.cors import is_of_own_page
from serve.front_doors.http import challenge
from serve.front_doors.http_connections import HttpApplication
from serve.in_place import InPlace, InPlaceBytes
from serve.management_paths import METRICS_PATH, route_of
from serve.metrics.exposition import CONTENT_TYPE
from serve.operations import ModelList, Operation
from serve.rollouts.calls import MODEL_CALLS

MAX_CONFIG_BYTES = 8 * 1024 * 1024
"""Of any body under `/api`."""


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


class Management:
    """The application of the management port, in front of `dialects`, another one, which has the same `guard`; None is
    for everybody. `refused` hears of calls that are not let in. Sources of a config that comes over the wire must be
    absolute paths or URLs."""

    def __init__(
        self,
        authority: Authority,
        dialects: HttpApplication,
        guard: Guard | None = None,
        console: ConsoleFiles | None = None,
        refused: RefusedCalls | None = None,
    ) -> None:
        self._authority = authority
        self._console = console or ConsoleFiles()
        self._dialects = dialects
        self._guard = guard
        self._refused = refused
        if guard is not None and refused is not None:
            guard.refused = refused.note_query
        self.routes: dict[tuple[str, str], Handler] = {
            ("GET", "/api/state"): self._state,
            ("GET", METRICS_PATH): self._metrics,
            ("GET", "/api/models/{model}/comparison"): self._comparison,
            ("PUT", "/api/config"): self._config,
            ("GET", "/api/history"): self._history,
            ("GET", "/api/logs"): self._logs,
            ("POST", "/api/shutdown"): self._shutdown,
            **{route: partial(self._change, decode) for route, decode in MODEL_CALLS.items()},
            **console_routes(authority),
        }

    def admit(self, request: HttpRequest, under_way: int) -> int:
        """The largest body; raises what the guard raises, and `Forbidden` for what a web page of another origin makes a
        browser send, which can't add a key that it does not know."""
        try:
            return self._admit(request, under_way)
        except Exception as error:
            self._note_refused(request, error)
            raise

    def _admit(self, request: HttpRequest, under_way: int) -> int:
        limit = MAX_CONFIG_BYTES
        if self._console.claims(request):
            limit = 0
            if self._guard is not None:
                # The files are no secret, and a browser brings no key when it asks for a page.
                self._guard.admit(request.header)
                return limit
        elif not _is_own(request):
            limit = self._dialects.admit(request, under_way)
        elif self._guard is not None:
            request.caller = self._guard.admit(request.header)
        if request.caller is None or not request.caller.name:
            _refuse_foreign(request)
        if self._guard is not None and request.caller is not None and _is_own(request):
            self._guard.require(request.caller, *route_need(request.method, request.path))
        return limit

    def room(self, request: HttpRequest, length: int) -> InPlace:
        """As `bytes`."""
        return InPlaceBytes(length)

    async def answer(self, request: HttpRequest) -> HttpReply:
        """The reply, to errors too."""
        if self._console.claims(request):
            return self._console.answer(request)
        if not _is_own(request):
            return await self._dialects.answer(request)
        route, model = route_of(request.path)
        handler = self.routes.get((request.method, route))
        if handler is None:
            known = any(route == path for _, path in self.routes)
            return (
                json_reply(405, {"error": "Method Not Allowed"}) if known else json_reply(404, {"error": "Not Found"})
            )
        caller = request.caller
        CALLER.set((caller and caller.name) or claimed_user(request.header(USER_HEADER)))
        try:
            if self._guard is not None and caller is not None:
                # Once more: it may have ended while the body came.
                self._require(request, caller)
            with nullcontext() if caller is None or caller.limits is None else caller.limits:
                answer = await handler(model, request, parse_qs(request.query))
                return answer if isinstance(answer, HttpReply) else json_reply(200, answer)
        except Exception as error:
            return self.refuse(request, error)

    def _require(self, request: HttpRequest, caller: Caller) -> None:
        assert self._guard is not None
        try:
            self._guard.require(caller, *route_need(request.method, request.path))
        except OnegateError as error:
            self._note_refused(request, error)
            raise

    def _note_refused(self, request: HttpRequest, error: Exception) -> None:
        if self._refused is not None:
            self._refused.note_request(request, error)

    def refuse(self, request: HttpRequest, error: Exception) -> HttpReply:
        """The reply to an error; what was forbidden gets this port's own, whatever the path."""
        if _is_own(request) or isinstance(error, Forbidden):
            told = presentable(error)
            reply = own_error(told)
            challenge(reply, told)
            return reply
        return self._dialects.refuse(request, error)

    async def _state(self, model: str, request: HttpRequest, query: dict[str, list[str]]) -> Any:
        return self._authority.state()

    async def _metrics(self, model: str, request: HttpRequest, query: dict[str, list[str]]) -> Any:
        return HttpReply(200, await self._authority.metrics(), [("content-type", CONTENT_TYPE)])

    async def _comparison(self, model: str, request: HttpRequest, query: dict[str, list[str]]) -> Any:
        return self._authority.comparison(model)

    async def _config(self, model: str, request: HttpRequest, query: dict[str, list[str]]) -> Any:
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
        self, decode: Callable[[str, bytes], Plannable], model: str, request: HttpRequest, query: dict[str, list[str]]
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

    async def _history(self, model: str, request: HttpRequest, query: dict[str, list[str]]) -> Any:
        limit = whole_number(query, "limit")
        return await self._authority.history(query.get("model", [None])[-1], LIMIT if limit is None else limit)

    async def _logs(self, model: str, request: HttpRequest, query: dict[str, list[str]]) -> Any:
        after, limit = whole_number(query, "after"), whole_number(query, "limit")
        return await self._authority.logs(
            WantedLines(
                query.get("model", [None])[-1],
                after or 0,
                _time(query, "since"),
                MAX_TOLD if limit is None else min(limit, MAX_TOLD),
            )
        )

    async def _shutdown(self, model: str, request: HttpRequest, query: dict[str, list[str]]) -> Any:
        self._authority.request_shutdown()
        return {"stopping": True}


def _only_plans(query: dict[str, list[str]]) -> bool:
    return query.get("plan", ["false"])[-1] == "true"


def _time(query: dict[str, list[str]], name: str) -> float:
    """In seconds since 1970; 0 where none is given."""
    text = query.get(name, [""])[-1]
    if not text:
        return 0.0
    try:
        given = datetime.fromisoformat(text)
        if given.tzinfo is None:
            raise ValueError
        return given.timestamp()
    except (ValueError, OverflowError) as error:
        raise InvalidInput(f"{name}: expected a time as 2026-01-02T03:04:05Z, got {text!r:.40}") from error


def _is_own(request: HttpRequest) -> bool:
    return request.path[1:].partition("/")[0] == "api" or request.path == METRICS_PATH


def _refuse_foreign(request: HttpRequest) -> None:
    """A browser names the page's origin, and a name that was pointed at this machine stands in `Host`."""
    host = request.header("host") or ""
    origin = request.header("origin")
    try:
        local = _is_loopback(urlsplit(f"//{host}").hostname or "")
    except ValueError:
        local = False
    if not (local and is_of_own_page(request)):
        raise Forbidden(f"management answers local programs only, got Host {host!r} and Origin {origin!r}")


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def error_from(answer: dict[str, Any]) -> OnegateError:
    """The error that a management answer tells, for callers of the port."""
    return ERROR_KINDS.get(answer.get("kind", ""), InternalError)(answer.get("error", "unknown error"))
