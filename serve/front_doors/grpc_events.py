"""Which event loop hears of what gRPC has done.

grpc.aio has one queue a process, and wakes every loop that has ever used it for each event; whichever comes first takes
the event, and passes it on where it is another one's. In a Ray Serve replica there are two more such loops, Ray Serve's
own, with nothing to do for clients: each call woke three threads, which then waited for the interpreter in turns.
"""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any

_QUEUE = "PollerCompletionQueue"
"""The class of the queue (grpcio, `_cython/_cygrpc/aio/completion_queue.pyx.pxi`)."""


class GrpcEvents:
    """The queue's events, for the loop that this is made in; it has to have used grpc.aio.

    The queue tells nobody of its loops, but the collector knows them. Where grpcio has become another, nothing is found
    and all stays as it was.
    """

    def __init__(self) -> None:
        self._own = asyncio.get_running_loop()
        self._queue: Any = next((each for each in gc.get_objects() if type(each).__name__ == _QUEUE), None)
        self._silent: set[Any] = set()

    def keep(self) -> None:
        """Wakes no other loop from now on. To be called again when there may be new ones."""
        for loop, wake_up in list(self._others()):
            if loop not in self._silent:
                self._silent.add(loop)
                _call(loop, partial(loop.remove_reader, wake_up))

    def give_back(self) -> None:
        """Wakes all again: to be called before this loop ends, or the others would hear of nothing."""
        for loop, wake_up in list(self._others()):
            if loop in self._silent:
                self._silent.discard(loop)
                _call(loop, partial(loop.add_reader, wake_up, partial(self._queue._handle_events, loop)))

    def _others(self) -> Iterator[tuple[Any, socket.socket]]:
        """Each other loop that uses grpc.aio, and the socket that wakes it."""
        for held in gc.get_referents(self._queue):
            if not isinstance(held, dict):
                continue
            for loop, binding in held.items():
                for each in gc.get_referents(binding):
                    if loop is not self._own and isinstance(each, socket.socket):
                        yield loop, each


def _call(loop: Any, function: partial[Any]) -> None:
    # One that is closed has no more use for it.
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(function)
