"""Where an error of a gRPC call arose: with a server, or with grpcio, which tells so by its words alone.

Its debug text said "received from peer" once; that of 1.85 repeats the status.
"""

from __future__ import annotations

UNREACHABLE = ("failed to connect", "DNS resolution failed")
"""How the text begins where there was no connection; the call was not sent."""

CUT_OFF = ("Stream removed", "Socket closed", "recvmsg", "Connection reset")
"""How it begins where there is none any more."""

TOO_LATE = "Deadline Exceeded"
"""In the text where the call's own time was over, as in `Stream removed (Deadline Exceeded)`."""


def is_of_a_server(code: str, text: str) -> bool:
    """Whether a server answered with the status `code`, by its name, and `text`."""
    if code == "UNAVAILABLE":
        return not text.startswith((*UNREACHABLE, *CUT_OFF))
    return code != "DEADLINE_EXCEEDED" or TOO_LATE not in text
