"""Calls of a gateway's HTTP endpoint that come through the controller: the console's, whose page may ask its own
origin only.

They travel by Ray Serve's handle, so that they find a gateway wherever it listens and whatever its TLS is. Few and
small ones: the controller has other things to do.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import msgspec

from model_store.errors import DeadlineExceeded, ModelNotReady, Overloaded
from serve.control.gateways import GATEWAY_APP, GATEWAY_DEPLOYMENT
from serve.dialects.base import HttpReply, HttpRequest
from serve.front_doors.http_connections import HttpApplication

log = logging.getLogger("onegate")

AT_ONCE = 4
"""Fewer than a gateway takes of its handle."""

ANSWER_S = 60.0
_RETRY_S = 1.0


INERT = (("content-security-policy", "sandbox; default-src 'none'"), ("x-content-type-options", "nosniff"))
"""A handler answers what it likes, a page with scripts too, which must not run as if it were the management port's."""


class HandedCall(msgspec.Struct, frozen=True):
    """A whole HTTP request, as data; `headers` have lower-case names."""

    method: str
    path: str
    body: bytes
    headers: dict[str, str]


class GatewayCalls:
    """The controller's side. `handle` stands in for Ray Serve's, and `answer_s` for `ANSWER_S`."""

    def __init__(self, handle: Any = None, answer_s: float = ANSWER_S) -> None:
        self._handle = handle
        self._answer_s = answer_s
        self._under_way = 0

    async def answer(self, call: HandedCall) -> HttpReply:
        """A gateway's reply, to errors too. Raises `Overloaded` beyond `AT_ONCE`, `DeadlineExceeded`, and
        `ModelNotReady` where no gateway answers."""
        if self._under_way >= AT_ONCE:
            raise Overloaded(
                f"{self._under_way} calls go through the management port and at most {AT_ONCE} may; the endpoint's own "
                "port takes more",
                retry_after_s=_RETRY_S,
            )
        self._under_way += 1
        try:
            if self._handle is None:
                # Late: gateways start after the controller, and commands, which import this for its types, set Ray up
                # before they load it.
                from ray import serve

                self._handle = serve.get_deployment_handle(GATEWAY_DEPLOYMENT, GATEWAY_APP)
            async with asyncio.timeout(self._answer_s):
                reply = await self._handle.answer_handed.remote(call)
            assert isinstance(reply, HttpReply)
            return reply
        except TimeoutError:
            raise DeadlineExceeded(f"no gateway answered within {self._answer_s:g} s") from None
        except Exception as error:
            log.warning("a call got no answer from a gateway: %s", type(error).__name__)
            raise ModelNotReady("no gateway answers; try again", retry_after_s=_RETRY_S) from None
        finally:
            self._under_way -= 1


async def answered(door: HttpApplication, call: HandedCall) -> HttpReply:
    """The gateway's side: what its endpoint answers, as something that can travel."""
    request = HttpRequest(call.method, call.path, call.body, call.headers.get, call.headers)
    try:
        door.admit(request, 0)
    except Exception as error:
        reply = door.refuse(request, error)
    else:
        request.received_ns = time.perf_counter_ns()
        reply = await door.answer(request)
    return HttpReply(reply.status, b"".join((reply.body, *reply.tail)), [*reply.headers, *INERT])
