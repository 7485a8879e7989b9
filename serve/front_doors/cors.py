"""What browsers want to hear before a page of another origin may read a reply (https://fetch.spec.whatwg.org, CORS).

Stands in front of an HTTP application, where the config lists origins; else it is not there. It keeps no one out who is
no browser.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from urllib.parse import urlsplit

from model_store.errors import Forbidden
from serve.dialects.base import HttpReply, HttpRequest, own_error
from serve.front_doors.http_connections import HttpApplication
from serve.in_place import InPlace

ANY_ORIGIN = "*"

METHODS = "GET, HEAD, POST, PUT, DELETE, OPTIONS"

REMEMBERED_S = 600
"""For so long a browser need not ask again."""

_HEADER_NAMES = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z, -]{1,4096}")


class Cors:
    """Lets pages of `origins`, as `https://shop.example`, read the replies of `application`.

    `*` stands for pages of all origins, who then send no credentials: neither cookies nor certificates.
    """

    def __init__(self, application: HttpApplication, origins: Collection[str]) -> None:
        self._application = application
        self._origins = frozenset(origins)
        self._any = ANY_ORIGIN in self._origins

    def admit(self, request: HttpRequest, under_way: int) -> int:
        """As the application. A browser's question has no body, and is asked without a key."""
        return 0 if _is_question(request) else self._application.admit(request, under_way)

    def room(self, request: HttpRequest, length: int) -> InPlace:
        """As the application."""
        return self._application.room(request, length)

    async def answer(self, request: HttpRequest) -> HttpReply:
        """The application's reply, and who may read it; a browser's question is answered here."""
        if _is_question(request):
            return self._permission(request)
        return self._readable(request, await self._application.answer(request))

    def refuse(self, request: HttpRequest, error: Exception) -> HttpReply:
        """As the application, readable."""
        return self._readable(request, self._application.refuse(request, error))

    def _permission(self, request: HttpRequest) -> HttpReply:
        origin = request.header("origin") or ""
        if not self._admits(origin):
            reply = own_error(Forbidden(f"gateway.cors_origins does not list the origin {origin!r:.200}"))
            reply.headers = [*reply.headers, ("vary", "origin")]
            return reply
        headers = [
            *self._grant(origin),
            ("access-control-allow-methods", METHODS),
            ("access-control-max-age", str(REMEMBERED_S)),
        ]
        wanted = request.header("access-control-request-headers")
        if wanted is not None and _HEADER_NAMES.fullmatch(wanted):
            headers.append(("access-control-allow-headers", wanted))
        return HttpReply(204, b"", headers)

    def _readable(self, request: HttpRequest, reply: HttpReply) -> HttpReply:
        origin = request.header("origin")
        if origin is not None and self._admits(origin):
            names = ", ".join(dict.fromkeys(name for name, _ in reply.headers))
            exposed = [("access-control-expose-headers", names)] if names else []
            # A new list: dialects share theirs between replies.
            reply.headers = [*reply.headers, *self._grant(origin), *exposed]
        elif not self._any:
            reply.headers = [*reply.headers, ("vary", "origin")]
        return reply

    def _admits(self, origin: str) -> bool:
        return self._any or origin in self._origins

    def _grant(self, origin: str) -> list[tuple[str, str]]:
        if self._any:
            return [("access-control-allow-origin", ANY_ORIGIN)]
        return [
            ("access-control-allow-origin", origin),
            ("access-control-allow-credentials", "true"),
            # What is kept for one page is not for another.
            ("vary", "origin"),
        ]


def is_of_own_page(request: HttpRequest) -> bool:
    """Whether no page in a browser sent the request, or one of the same host."""
    origin = request.header("origin")
    try:
        return origin is None or urlsplit(origin).netloc == (request.header("host") or "")
    except ValueError:
        return False


def refuse_foreign_page(request: HttpRequest, origins: Collection[str]) -> None:
    """Raises `Forbidden` for a call without credentials from a page that is of no listed origin, nor of the port's own.

    Browsers send much for any page, though that page can't read what is answered; a key it can't add.
    """
    known = request.caller is not None and request.caller.name
    if not (known or is_of_own_page(request) or request.header("origin") in origins):
        raise Forbidden(
            f"gateway.cors_origins does not list the origin {request.header('origin')!r:.200}, whose pages may manage "
            "models with a key only"
        )


def _is_question(request: HttpRequest) -> bool:
    return (
        request.method == "OPTIONS"
        and request.header("origin") is not None
        and request.header("access-control-request-method") is not None
    )
