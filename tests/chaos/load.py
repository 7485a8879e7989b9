"""A steady load on several models, every answer of which goes to a recorder.

Open loop: a slow answer does not slow the sending. Each request carries a number of its own, so that an answer to
another one is seen as wrong.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Mapping

import aiohttp

from tests.chaos.recorder import Call, Outcome, Recorder
from tests.e2e.load import BackgroundLoad
from tests.e2e.models import body

PATIENCE_S = 60
NUMBERS = 4096
"""Different inputs: with factors below 4096 too, every product is exact in FP32."""


class RecordedLoad(BackgroundLoad):
    """Sends `rates[model]` requests a second from the beginning to the end of the block, or until `limit` were sent.

    With `retries`, a request whose connection was cut is sent once more, as clients do.
    """

    def __init__(
        self, url: str, rates: Mapping[str, int], recorder: Recorder, *, limit: int, retries: bool = False
    ) -> None:
        self._url = url
        self._rates = dict(rates)
        self._recorder = recorder
        self._limit = limit
        self._retries = retries
        super().__init__()

    def wait(self, timeout_s: float) -> bool:
        """Whether all of `limit` are sent and answered within that time."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    async def _run(self) -> None:
        timeout = aiohttp.ClientTimeout(PATIENCE_S)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
            per_model = [self._send_all(session, model, rate) for model, rate in self._rates.items()]
            await asyncio.gather(*per_model)

    async def _send_all(self, session: aiohttp.ClientSession, model: str, rate: int) -> None:
        share = self._limit * rate // sum(self._rates.values())
        under_way: set[asyncio.Task[None]] = set()
        start = time.monotonic()
        for count, number in zip(range(share), itertools.cycle(range(1, NUMBERS)), strict=False):
            if self._ending.is_set():
                break
            task = asyncio.create_task(self._send(session, model, float(number)))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            await asyncio.sleep(max(0.0, start + (count + 1) / rate - time.monotonic()))
        await asyncio.gather(*under_way)

    async def _send(self, session: aiohttp.ClientSession, model: str, number: float) -> None:
        sent = time.monotonic()
        outcome, told = await self._ask(session, model, number)
        retried = self._retries and outcome == CUT
        if retried:
            outcome, told = await self._ask(session, model, number)
        self._recorder.note(Call(model, sent, time.monotonic(), outcome, told, retried))

    async def _ask(self, session: aiohttp.ClientSession, model: str, number: float) -> tuple[Outcome, str]:
        """The outcome, and the version that answered or what was said instead."""
        try:
            async with session.post(f"{self._url}/v2/models/{model}/infer", data=body(number)) as reply:
                answer = await reply.read()
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, aiohttp.ClientPayloadError) as error:
            return CUT, repr(error)
        except (aiohttp.ClientError, TimeoutError) as error:
            return type(error).__name__, str(error)
        if reply.status != 200:
            return str(reply.status), answer[:200].decode(errors="replace")
        told = json.loads(answer)
        first, second = told["outputs"][0]["data"]
        # Only a whole factor is one: anything else was computed from another request's number.
        return first / number if first == second else f"{first} and {second} of {number}", told["model_version"]


CUT = "cut"
"""The outcome of a request whose connection ended before its answer."""
