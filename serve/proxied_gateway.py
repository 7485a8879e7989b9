"""A gateway that Ray Serve's HTTP proxies may call too, for clusters whose traffic must come through them.

It answers every HTTP protocol with the same dialects and dispatcher. gRPC, and requests of which not every hop counts,
use its own ports, where it opens them.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from serve.dialects.base import HttpRequest
from serve.front_doors.http_bodies import too_large
from serve.front_doors.http_connection import HttpApplication
from serve.gateway import Gateway, GatewaySettings


class ProxiedGateway(Gateway):
    """One gateway replica. `controller` is there so that Ray Serve starts the controller with it; `listen` says whether
    it opens its own ports."""

    async def __init__(  # type: ignore[misc]  # Ray Serve awaits it
        self, settings: GatewaySettings, controller: Any = None, listen: bool = True
    ) -> None:
        self._listens = listen
        self._under_way = 0
        await super().__init__(settings)
        self._proxied: HttpApplication = self._http_door()

    async def __call__(self, request: Request) -> Response:
        """Ray Serve's proxy has received a request's headers; its body follows."""
        self._under_way += 1
        try:
            asked = _without_body(request)
            try:
                limit = self._proxied.admit(asked, self._under_way - 1)
                asked.content = await _body(request, limit)
            except Exception as error:
                reply = self._proxied.refuse(asked, error)
            else:
                reply = await self._proxied.answer(asked)
        finally:
            self._under_way -= 1
        answer = Response(b"".join((reply.body, *reply.tail)), reply.status)
        for name, value in reply.headers:
            answer.headers.append(name, value)
        return answer

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


def _without_body(request: Request) -> HttpRequest:
    return HttpRequest(
        request.method,
        request.scope["path"],
        b"",
        request.headers.get,
        request.headers,
        request.scope["query_string"].decode("latin-1"),
    )


async def _body(request: Request, limit: int) -> bytes:
    """Raises `PayloadTooLarge` for more than `limit` bytes, before all of it is taken."""
    parts, size = [], 0
    async for part in request.stream():
        parts.append(part)
        size += len(part)
        if size > limit:
            raise too_large(limit, "more")
    return b"".join(parts)
