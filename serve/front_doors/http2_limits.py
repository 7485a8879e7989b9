"""What an HTTP/2 client may cost that brings no calls (RFC 9113, section 10.5)."""

from __future__ import annotations

from serve.front_doors.http2_frames import Code, ConnectionFault

MAX_STREAMS = 1024
"""Of a connection at once. One counts until the work for it has ended, so that to reset it makes room for no other
(CVE-2023-44487)."""

MOST_CHATTER = 2000
CHATTER_PER_S = 100
"""Frames that carry nothing: PING, SETTINGS, WINDOW_UPDATE, empty DATA and the like. Clients send some for what they
are sent, so answers make up for them."""

RESTORED_BY_MESSAGE = 4
CHATTER_BYTES = 1024
"""One more for as much that a client was sent: it may take its window in small steps, but not byte by byte."""

MOST_RESETS = 8 * MAX_STREAMS
RESETS_PER_S = 1000
"""Streams that either side resets, for a mistake too (CVE-2025-8671). In an overload, clients whose deadlines pass
reset all that they have under way, again and again."""


class Allowance:
    """`most` of something, and `per_s` more each second."""

    __slots__ = ("_most", "_per_s", "_what", "left")

    def __init__(self, what: str, most: int, per_s: int) -> None:
        self._what = what
        self._most = most
        self._per_s = per_s
        self.left: float = most

    def spend(self) -> None:
        """Takes one; raises `ConnectionFault` when none is left."""
        self.left -= 1
        if self.left < 0:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, f"too many {self._what}")

    def restore(self, count: float) -> None:
        """So many more."""
        if self.left < self._most:
            self.left += count

    def pass_time(self, seconds: float) -> None:
        """What the time brings."""
        self.restore(self._per_s * seconds)


def chatter() -> Allowance:
    """What a connection begins with."""
    return Allowance("frames that carry nothing", MOST_CHATTER, CHATTER_PER_S)


def resets() -> Allowance:
    """What a connection begins with."""
    return Allowance("streams that were reset", MOST_RESETS, RESETS_PER_S)
