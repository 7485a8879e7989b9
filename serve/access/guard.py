"""Lets calls in, or not: who calls, at the head, and whether they may, once it is known what they ask.

One for each listening process; where everybody may ask everything there is none, and a request pays a look at that.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from model_store.access_keys import AccessKey
from model_store.errors import Forbidden, ModelNotReady, OnegateError, Unauthenticated
from serve.access.audit import require_writable
from serve.access.callers import EXPECTED, Caller, presented
from serve.access.keys import KnownKeys, require_present
from serve.access.limits import Limits
from serve.access.scopes import Grants, Need, query_need
from serve.caller import CALLER
from serve.config_sections.access import AccessConfig
from serve.inference import Answer, Query

SMALL_BODY_BYTES = 64 * 1024
"""The largest body of callers who may ask nothing that brings a larger one."""

STARTING_RETRY_S = 1.0

_QUESTIONS = ("GET", "HEAD", "OPTIONS")

OWN_NAME = "onegate"
"""The caller that `onegate up` is at its own management port."""

Header = Callable[[str], str | None]


class Guard:
    """Knows the newest keys. `secret` is the cluster's, for the management port. `clock` is Unix time."""

    def __init__(self, access: AccessConfig, secret: str | None = None, clock: Callable[[], float] = time.time) -> None:
        self.anonymous = Caller("", Grants(access.anonymous))
        self._own = Caller(OWN_NAME, Grants(("infer", "view", "manage", "metrics")))
        self._secret = secret
        self._clock = clock
        self._keys = KnownKeys(clock)
        self._told = False
        self.refused: Callable[[Caller, Query, OnegateError], None] | None = None
        """Hears of each query that its caller may not ask."""
        self._tokens: Callable[[str], Caller] | None = None
        if access.jwt is not None:
            # Takes 30 ms to import, which others need not wait for.
            from serve.access.tokens import TokenVerifier

            self._tokens = TokenVerifier(access.jwt, clock=clock).caller

    def take_over(self, keys: Iterable[AccessKey]) -> None:
        """Knows these keys from now on, and no others."""
        self._keys.take_over(keys)
        self._told = True

    def admit(self, header: Header) -> Caller:
        """Who calls, by the head alone: `header` finds what stands there by its lower-case name.

        Raises `Unauthenticated` for credentials that are not valid, and `ModelNotReady` for a key before this process
        has heard of any.
        """
        token = presented(header)
        return self.anonymous if token is None else self._caller(token)

    def require(self, caller: Caller, need: Need, model: str = "") -> None:
        """Raises `Unauthenticated`, or `Forbidden` for a caller who has said who they are, unless they may."""
        if caller.until_s is not None:
            require_present(caller, self._clock())
        if not caller.grants.allow(need, model):
            raise denied(caller, need, model)

    def answer(self, caller: Caller, query: Query, answer: Callable[[Query], Awaitable[Answer]]) -> Awaitable[Answer]:
        """What `answer` says, to callers who may ask it; raises as `require`, and `RateLimited` for one who asks too
        often. Health is never asked too often."""
        need, model = query_need(query)
        try:
            self.require(caller, need, model)
        except (Unauthenticated, Forbidden) as error:
            if self.refused is not None:
                self.refused(caller, query, error)
            raise
        CALLER.set(caller.name)
        if caller.limits is None or need is Need.NOTHING:
            return answer(query)
        return _limited(caller.limits, query, answer)

    def answerer(
        self, caller: Caller, answer: Callable[[Query], Awaitable[Answer]]
    ) -> Callable[[Query], Awaitable[Answer]]:
        """`answer` for the queries of one caller."""
        return lambda query: self.answer(caller, query, answer)

    def body_limit(self, caller: Caller, method: str, length: str | None, limit: int) -> int:
        """How many bytes a body of a request over HTTP may have, of `limit`; `length` is how long it is said to be.

        Raises as `require` where no such request can be let in: one that is more than a question, of a caller without
        any scope, or with a larger body than callers need who may neither call models nor manage them; and
        `RateLimited` where it would be in vain.
        """
        if caller.limits is not None and method not in _QUESTIONS:
            caller.limits.check()
        if caller.grants.may_send:
            return limit
        large = length is not None and int(length) > SMALL_BODY_BYTES
        if large or not (method in _QUESTIONS or caller.grants.scopes):
            raise denied(caller, Need.INFER)
        return self.message_limit(caller, limit)

    def message_limit(self, caller: Caller, limit: int) -> int:
        """How many bytes a body or message may have, of `limit`, unpacked where it came compressed; a negative `limit`
        is none. Callers who may neither call models nor manage them need no large one."""
        if caller.grants.may_send:
            return limit
        return min(limit, SMALL_BODY_BYTES) if limit >= 0 else SMALL_BODY_BYTES

    def _caller(self, token: str) -> Caller:
        if self._secret and hmac.compare_digest(token, self._secret):
            return self._own
        if self._tokens is not None and token.count(".") == 2:
            return self._tokens(token)
        if not self._told:
            raise ModelNotReady("this process is starting and knows no keys yet", retry_after_s=STARTING_RETRY_S)
        return self._keys.caller(token)


def check_access(access: AccessConfig) -> None:
    """Raises `ConfigError` for what nobody could use: a file without keys of tokens, an audit log that can't be
    written."""
    if access.jwt is not None:
        from serve.access.tokens import read_keys

        read_keys(access.jwt)
    if access.audit_log is not None:
        require_writable(Path(access.audit_log))


def denied(caller: Caller, need: Need, model: str = "") -> Unauthenticated | Forbidden:
    """Why a caller may not."""
    wanted = f"infer:{model:.200}" if need is Need.INFER and model else need.value
    if not caller.name:
        return Unauthenticated(f"the call needs a key with the scope {wanted}: expected {EXPECTED}, got none")
    has = ", ".join(caller.grants.scopes) or "none"
    return Forbidden(f"the call needs the scope {wanted}, and {caller.name} has {has:.250}")


async def _limited(limits: Limits, query: Query, answer: Callable[[Query], Awaitable[Answer]]) -> Answer:
    with limits:
        return await answer(query)


def guard_of(access: AccessConfig, secret: str | None = None) -> Guard | None:
    """The guard of a config, None where everybody may ask everything."""
    return None if access.is_open else Guard(access, secret)
