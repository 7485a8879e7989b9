"""Who is being answered: the id of a request, and the trace that it belongs to, for log lines and for other servers.

An id is what the client sent as `x-request-id`. Where there is none, one is made when it is needed first: most requests
are answered without.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextvars import ContextVar

import msgspec

from serve.tracing.context import TRACERESPONSE, TraceContext, new_trace_id

REQUEST_ID = "x-request-id"

_GIVEN = re.compile(r"[\x21-\x7e]{1,128}")
"""What may stand in a header of the answer, in a line and in an error's text."""


class Asked(msgspec.Struct, gc=False):
    """A request as its front door knows it. `header` looks up what the client sent, by lower-case name. `method` and
    `target` are those of HTTP's first line; a call of gRPC has the method's whole name as `target`, and no `method`."""

    header: Callable[[str], str | None] | None = None
    method: str = ""
    target: str = ""
    status: int | str = ""
    """Of the answer, once there is one: HTTP's number, or the name of gRPC's code."""
    trace: TraceContext | None = None
    """Set where traces are made: of a request that is kept whatever becomes of it, and where the caller has one."""
    made: str = ""
    """The id, once it is known."""
    traced: bool = False
    """Whether it may be traced: traces are made here."""

    @property
    def id(self) -> str:
        """The client's own, or one that stays the same from now on: the trace's where there is one."""
        if not self.made:
            self.made = self.given or self.trace_id or new_trace_id()
        return self.made

    def ensure_id(self) -> None:
        """There is an id from now on."""
        self.made = self.made or self.id

    @property
    def given(self) -> str:
        """The client's own; empty where there is none that can be written."""
        told = None if self.header is None else self.header(REQUEST_ID)
        return told if told is not None and _GIVEN.fullmatch(told) else ""

    @property
    def known(self) -> str:
        """The id where the client sent one or one was needed; else empty."""
        return self.made or self.given

    @property
    def told(self) -> list[tuple[str, str]]:
        """The headers, or metadata, of the answer: the id and the trace, where they are known."""
        told = []
        if id := self.known:
            told.append((REQUEST_ID, id))
        if self.trace is not None:
            told.append((TRACERESPONSE, self.trace.response))
        return told

    def another(self) -> Asked:
        """For a further request that the same call makes: whether that is traced is yet to be decided."""
        return msgspec.structs.replace(self, trace=None)

    @property
    def trace_id(self) -> str:
        """The trace's id, 32 hexadecimal digits, or empty."""
        return "" if self.trace is None else self.trace.trace_id


ASKED: ContextVar[Asked | None] = ContextVar("asked", default=None)
"""The request that is being answered; of a batch, all of them in one."""

MOST_IDS = 8
"""Of a batch, in a line."""


def together(requests: tuple[Asked, ...]) -> str:
    """The ids of the requests of a batch in one text, the first few of them."""
    ids = ",".join([asked.id for asked in requests[:MOST_IDS]])
    return ids if len(requests) <= MOST_IDS else f"{ids},.."
