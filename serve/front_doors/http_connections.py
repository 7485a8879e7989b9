"""What the HTTP/1.1 connections of a listener share, and what answers their requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from serve.access_log import AccessLog
from serve.dialects.base import HttpReply, HttpRequest
from serve.front_doors.listener import Connections
from serve.in_place import InPlace

if TYPE_CHECKING:
    from serve.front_doors.http_connection import HttpConnection  # noqa: F401  # named in a string, which ruff doesn't read

READ_BYTES = 256 * 1024
"""Read at once, at most."""


class HttpApplication(Protocol):
    """What answers the requests of a listener."""

    def admit(self, request: HttpRequest, under_way: int) -> int:
        """How many bytes the body of a request may have whose head is there; raises where it is refused. `under_way`
        requests are not answered yet."""

    def room(self, request: HttpRequest, length: int) -> InPlace:
        """Where a large body of so many bytes is received; raises `OutOfMemory`."""

    async def answer(self, request: HttpRequest) -> HttpReply:
        """The reply to a whole request. Raises nothing; is cancelled when the client goes away."""

    def refuse(self, request: HttpRequest, error: Exception) -> HttpReply:
        """The reply to a request that did not get as far as `answer`."""


class HttpConnections(Connections["HttpConnection"]):
    """What all connections of a listener share."""

    def __init__(
        self,
        application: HttpApplication,
        on_close: Callable[[], None],
        *,
        header_timeout_s: float,
        body_timeout_s: float,
        access_log: AccessLog | None = None,
    ) -> None:
        super().__init__(on_close, header_timeout_s, body_timeout_s)
        self.application = application
        self.header_timeout_s = header_timeout_s
        self.body_timeout_s = body_timeout_s
        self.access_log = access_log
        self.date = ""
        """The header line, of this second."""
        self.under_way = 0
        self.buffer = memoryview(bytearray(READ_BYTES))
