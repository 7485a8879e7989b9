"""The context of a trace as headers carry it: W3C Trace Context, level 1, and Baggage, which is handed on as it is.

Sources: https://www.w3.org/TR/trace-context/ and https://www.w3.org/TR/baggage/.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from random import getrandbits

import msgspec

TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"
BAGGAGE = "baggage"
TRACERESPONSE = "traceresponse"
"""In answers: which trace and span the request had here (level 2 of the specification)."""

MAX_STATE = 512
"""Characters of a `tracestate` that have to be handed on (section 3.3.1.5); a longer one is left out as a whole."""

MAX_BAGGAGE = 8192

_PARENT = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")

_SAMPLED = 1

_VISIBLE = re.compile(r"[\x20-\x7e]*")


class TraceContext(msgspec.Struct, frozen=True):
    """The trace that a request belongs to. `span_id` is the request's own span here, `parent_id` the caller's, empty
    where the trace begins here. `sampled` says that the trace is kept: the caller's decision, or ours where the caller
    brings none."""

    trace_id: str
    span_id: str
    parent_id: str = ""
    sampled: bool = False
    state: str = ""
    baggage: str = ""

    @property
    def response(self) -> str:
        """What the caller is told of it."""
        return f"00-{self.trace_id}-{self.span_id}-{self.sampled:02x}"

    def headers(self, span_id: str) -> tuple[tuple[str, str], ...]:
        """What another server is told, which works for the span `span_id` of this trace."""
        told = [(TRACEPARENT, f"00-{self.trace_id}-{span_id}-{self.sampled:02x}")]
        if self.state:
            told.append((TRACESTATE, self.state))
        if self.baggage:
            told.append((BAGGAGE, self.baggage))
        return tuple(told)


def received(header: Callable[[str], str | None]) -> TraceContext | None:
    """The context that a caller sent, with a new span of ours; None without one that is valid. `header` looks up by
    lower-case name."""
    found = _parent(header)
    if found is None:
        return None
    sampled = bool(int(found[4], 16) & _SAMPLED)
    state, baggage = _handed_on(header(TRACESTATE), MAX_STATE), _handed_on(header(BAGGAGE), MAX_BAGGAGE)
    return TraceContext(found[2], new_span_id(), found[3], sampled, state, baggage)


def passed_on(header: Callable[[str], str | None]) -> tuple[tuple[str, str], ...]:
    """What another server is told where no traces are made: the context as the caller sent it, if it is valid."""
    found = _parent(header)
    if found is None or not _VISIBLE.fullmatch(found[0]):
        return ()
    state, baggage = _handed_on(header(TRACESTATE), MAX_STATE), _handed_on(header(BAGGAGE), MAX_BAGGAGE)
    told = ((TRACEPARENT, found[0]), (TRACESTATE, state), (BAGGAGE, baggage))
    return tuple((name, value) for name, value in told if value)


def begun(header: Callable[[str], str | None], *, sampled: bool) -> TraceContext:
    """The context of a trace that begins here."""
    return TraceContext(new_trace_id(), new_span_id(), "", sampled, "", _handed_on(header(BAGGAGE), MAX_BAGGAGE))


def new_trace_id() -> str:
    """32 hexadecimal digits, not all 0."""
    return f"{getrandbits(128) or 1:032x}"


def new_span_id() -> str:
    """16 hexadecimal digits, not all 0."""
    return f"{getrandbits(64) or 1:016x}"


def _parent(header: Callable[[str], str | None]) -> re.Match[str] | None:
    parent = header(TRACEPARENT)
    found = None if parent is None else _PARENT.fullmatch(parent)
    # Later versions may have more behind the flags; this one has not.
    return None if found is None or (found[1] == "00" and found[5]) else found


def _handed_on(value: str | None, most: int) -> str:
    return value if value is not None and len(value) <= most and _VISIBLE.fullmatch(value) else ""
