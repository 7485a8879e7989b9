"""The management port's HTTP interface: the console, `/metrics`, and under `/api` what `api_routes.py` and
`console_routes.py` have, JSON both ways; everything else is for the dialects whose management calls it takes. Here
stands who is let in.

Errors of these paths are `{"error": text, "kind": name}` under the kind's status.
"""

from __future__ import annotations

import ipaddress
from contextlib import nullcontext
from urllib.parse import parse_qs, urlsplit

from model_store.errors import Forbidden, OnegateError
from serve.access.callers import Caller
from serve.access.guard import Guard
from serve.access.refused import RefusedCalls
from serve.access.scopes import route_need
from serve.caller import CALLER, USER_HEADER, claimed_user
from serve.console.files import ConsoleFiles
from serve.control.api_routes import ApiRoutes, Authority
from serve.control.console_routes import console_routes
from serve.control.management_routes import Handler, json_reply
from serve.dialects.base import HttpReply, HttpRequest, own_error
from serve.errors import presentable
from serve.front_doors.cors import is_of_own_page
from serve.front_doors.http import challenge
from serve.front_doors.http_connections import HttpApplication
from serve.in_place import InPlace, InPlaceBytes
from serve.management_paths import METRICS_PATH, route_of

MAX_CONFIG_BYTES = 8 * 1024 * 1024
"""Of any body under `/api`."""


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
        self._console = console or ConsoleFiles()
        self._dialects = dialects
        self._guard = guard
        self._refused = refused
        if guard is not None and refused is not None:
            guard.refused = refused.note_query
        self.routes: dict[tuple[str, str], Handler] = {**ApiRoutes(authority).handlers, **console_routes(authority)}

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
