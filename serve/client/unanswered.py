"""Calls that ended without an answer, in the words and kinds of all transports."""

from __future__ import annotations

import ssl

from model_store.errors import DeadlineExceeded, ModelNotReady, named_line
from serve.client.retries import AGAIN, REACHED


class Lost(Exception):
    """A connection ended before the answer was whole; `begun` says whether anything of it had come."""

    def __init__(self, error: Exception, begun: bool) -> None:
        super().__init__(str(error))
        self.error = error
        self.begun = begun


def unreachable(url: str, error: Exception) -> ModelNotReady:
    """No connection could be made."""
    details = {AGAIN: _may_change(error), REACHED: False}
    return ModelNotReady(f"no endpoint answers at {url} ({named_line(error)})", **details)


def cut_off(url: str, error: Exception) -> ModelNotReady:
    """The connection ended, or what came was no answer, while the call was under way."""
    details = {AGAIN: _may_change(error), REACHED: True}
    return ModelNotReady(f"the endpoint at {url} gave no whole answer ({named_line(error)})", **details)


def too_late(url: str, timeout_s: float) -> DeadlineExceeded:
    """There was no answer in time."""
    return DeadlineExceeded(f"no answer from {url} in the {timeout_s:.3g} s that were left")


def _may_change(error: Exception) -> bool:
    """Not where one end does not trust the other: that is for somebody to mend."""
    ended = (ssl.SSLEOFError, ssl.SSLZeroReturnError)
    return not isinstance(error, ssl.SSLError) or isinstance(error, ended)
