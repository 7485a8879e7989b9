"""A steady, bounded load: so many requests a second, whatever the answers take, and every outcome kept."""

from __future__ import annotations

import asyncio
import collections
import threading
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Self

import aiohttp


@dataclass
class Outcomes:
    """`answers` counts what came back by value; `failures` holds whatever was no 200; `cut` counts the connections that
    ended before the answer, where such requests were sent a second time. `longest_gap_s` is between two answers."""

    answers: collections.Counter[float] = field(default_factory=collections.Counter)
    failures: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    cut: int = 0
    longest_gap_s: float = 0.0
    last_s: float | None = None

    def note_answer(self, value: float) -> None:
        now = time.monotonic()
        self.longest_gap_s = max(self.longest_gap_s, now - (self.last_s or now))
        self.last_s = now
        self.answers[value] += 1

    @property
    def count(self) -> int:
        return sum(self.answers.values()) + len(self.failures)


class BackgroundLoad(ABC):
    """Calls that a thread with an event loop makes from the beginning to the end of the block."""

    def __init__(self) -> None:
        self._ending = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def stop(self) -> object:
        """Sends no more, and returns when all is answered."""
        self._ending.set()
        self._thread.join()
        return None

    @abstractmethod
    async def _run(self) -> None:
        """Sends until `_ending` is set."""


class SteadyLoad(BackgroundLoad):
    """Sends `body` to `url` `rate` times a second from `start` to `stop`, at most `limit_s` seconds.

    Open loop: a slow answer does not slow the sending. An answer's value is the first number of its first output. With
    `resend`, a request whose connection is cut is sent once more, on a new one.
    """

    def __init__(self, url: str, body: bytes, rate: int = 200, limit_s: float = 90.0, *, resend: bool = False) -> None:
        self._url = url
        self._body = body
        self._rate = rate
        self._limit_s = limit_s
        self._resend = resend
        super().__init__()
        self.outcomes = Outcomes()

    def stop(self) -> Outcomes:
        """Sends no more, waits for all answers, and returns what came."""
        super().stop()
        return self.outcomes

    async def _run(self) -> None:
        timeout = aiohttp.ClientTimeout(60)
        kept, fresh = aiohttp.TCPConnector(limit=0), aiohttp.TCPConnector(limit=0, force_close=True)
        async with (
            aiohttp.ClientSession(connector=kept, timeout=timeout) as session,
            aiohttp.ClientSession(connector=fresh, timeout=timeout) as second,
        ):
            tasks = []
            start = time.monotonic()
            while not self._ending.is_set() and time.monotonic() - start < self._limit_s:
                tasks.append(asyncio.create_task(self._send(session, second if self._resend else None)))
                await asyncio.sleep(max(0.0, start + len(tasks) / self._rate - time.monotonic()))
            await asyncio.gather(*tasks)

    async def _send(self, session: aiohttp.ClientSession, second: aiohttp.ClientSession | None) -> None:
        begin = time.monotonic()
        try:
            async with session.post(self._url, data=self._body) as reply:
                answer = await reply.json(content_type=None)
                if reply.status == 200:
                    self.outcomes.note_answer(answer["outputs"][0]["data"][0])
                else:
                    self.outcomes.failures.append(f"{reply.status}: {answer}")
        except (aiohttp.ClientError, TimeoutError) as error:
            if second is not None and not isinstance(error, TimeoutError):
                self.outcomes.cut += 1
                await self._send(second, None)
            else:
                self.outcomes.failures.append(repr(error))
        self.outcomes.slowest_s = max(self.outcomes.slowest_s, time.monotonic() - begin)
