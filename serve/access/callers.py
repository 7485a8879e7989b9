"""Who calls, and the credentials that say so."""

from __future__ import annotations

from collections.abc import Callable

from model_store.errors import Unauthenticated
from serve.access.limits import Limits
from serve.access.scopes import Grants

MAX_CREDENTIALS = 16 * 1024
"""Characters; what is longer is no key and no token."""

EXPECTED = "`Authorization: Bearer KEY` or `X-API-Key: KEY`"


class Caller:
    """One key, one token's subject, or everybody without credentials, whose `name` is empty.

    `until_s` is when it ends (Unix time), None is never; a revoked one has ended.
    """

    __slots__ = ("grants", "limits", "name", "until_s")

    def __init__(
        self, name: str, grants: Grants, *, limits: Limits | None = None, until_s: float | None = None
    ) -> None:
        self.name = name
        self.grants = grants
        self.limits = limits
        self.until_s = until_s


def presented(header: Callable[[str], str | None]) -> str | None:
    """The key or token that a call brings, None where it brings none; `header` finds a header, or metadata, by its
    lower-case name.

    Raises `Unauthenticated` for what can be neither.
    """
    key = header("x-api-key")
    if key is not None and key.strip():
        return _token(key.strip())
    authorization = header("authorization")
    if authorization is None or not authorization.strip():
        return None
    scheme, _, token = authorization.strip().partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthenticated(f"expected {EXPECTED}, got an Authorization of another kind")
    return _token(token.strip())


def _token(text: str) -> str:
    # Two headers of one name stand side by side, with a comma and a space in between.
    if not text or len(text) > MAX_CREDENTIALS or not text.isascii() or not text.isprintable() or " " in text:
        raise Unauthenticated(f"expected {EXPECTED}, one of them once, got what is no key and no token")
    return text
