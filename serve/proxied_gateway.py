"""A gateway that Ray Serve's HTTP proxies may call too, for clusters whose traffic must come through them.

It answers every HTTP protocol with the same dialects and dispatcher. gRPC, and requests of which not every hop counts,
use its own ports, where it opens them.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from model_store.errors import InvalidInput
from serve.access_log import GONE, AccessLog
from serve.dialects.base import HttpReply, HttpRequest
from serve.front_doors.http_bodies import BodyTimeout, too_large
from serve.front_doors.http_connections import HttpApplication
from serve.gateway import Gateway, GatewaySettings


class ProxiedGateway(Gateway):
    """One gateway replica. `controller` is there so that Ray Serve starts the controller with it; `listen` says whether
    it opens its own ports."""

    async def __init__(  # type: ignore[misc]  # Ray Serve awaits it
        self, settings: GatewaySettings, controller: Any = None, listen: bool = True
    ) -> None:
        self._listens = listen
        await super().__init__(settings)
        self._proxied = ProxiedDoor(self._http_door(), settings.body_timeout_s, self._access_log)

    async def __call__(self, request: Request) -> Response:
        """Ray Serve's proxy has received a request's headers; its body follows."""
        return await self._proxied.answer(request)

    async def _open_doors(self) -> None:
        if self._listens:
            await super()._open_doors()

    def _check_doors(self) -> None:
        if self._listens:
            super()._check_doors()

    async def _close_doors(self, timeout_s: float) -> None:
        """Ray Serve waits itself for what its proxies have sent."""
        if self._listens:
            await super()._close_doors(timeout_s)


class ProxiedDoor:
    """Brings what Ray Serve's proxies send before the application of an HTTP port. A body has `body_timeout_s`."""

    def __init__(
        self, application: HttpApplication, body_timeout_s: float, access_log: AccessLog | None = None
    ) -> None:
        self._application = application
        self._access_log = access_log
        self._body_timeout_s = body_timeout_s
        self._under_way = 0

    async def answer(self, request: Request) -> Response:
        """The reply, to errors too."""
        self._under_way += 1
        asked = _without_body(request)
        try:
            reply = await self._reply(asked, request)
        except asyncio.CancelledError:
            self._note(asked, GONE, 0)
            raise
        finally:
            self._under_way -= 1
        self._note(asked, reply.status, reply.size)
        answer = Response(b"".join((reply.body, *reply.tail)), reply.status)
        for name, value in reply.headers:
            answer.headers.append(name, value)
        return answer

    def _note(self, asked: HttpRequest, status: int, size: int) -> None:
        if self._access_log is not None:
            # The other end of the connection is the proxy.
            self._access_log.note_http(asked, status, size, "")

    async def _reply(self, asked: HttpRequest, request: Request) -> HttpReply:
        try:
            limit = self._application.admit(asked, self._under_way - 1)
            async with asyncio.timeout(self._body_timeout_s):
                asked.content = await _body(request, limit)
        except TimeoutError:
            late = BodyTimeout(f"the body did not arrive within {self._body_timeout_s:g} s")
            return self._application.refuse(asked, late)
        except Exception as error:
            return self._application.refuse(asked, error)
        asked.received_ns = time.perf_counter_ns()
        return await self._application.answer(asked)


def _without_body(request: Request) -> HttpRequest:
    # Of a header that comes twice the values stand side by side, as at the gateway's own port: two keys are none.
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return HttpRequest(
        request.method,
        request.scope["path"],
        b"",
        headers.get,
        headers,
        request.scope["query_string"].decode("latin-1"),
    )


async def _body(request: Request, limit: int) -> bytes:
    """Raises `PayloadTooLarge` for more than `limit` bytes, before all of it is taken, and `InvalidInput` for less than
    was announced."""
    parts, size = [], 0
    try:
        async for part in request.stream():
            parts.append(part)
            size += len(part)
            if size > limit:
                raise too_large(limit, "more")
    except ClientDisconnect:
        raise InvalidInput("the client left before its body was there") from None
    return b"".join(parts)
