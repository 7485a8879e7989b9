"""A load process: `python -m serve.bench.load` reads a plan, keeps connections busy, and prints what it measured.

A closed loop: each connection sends its next request when it has the answer to the last. So the rate is what the server
gives, and never more is under way than there are connections.
"""

from __future__ import annotations

import array
import asyncio
import ssl
import sys
import time
from collections import Counter
from typing import cast

import msgspec

from serve.bench.plan import Load, LoadPlan

LAST_ANSWERS_S = 10.0
"""How long answers are waited for that are under way at the end."""

BROKEN = 0
"""The status of no answer."""

_RECONNECT_S = 0.05


class Recorder:
    """Counts between two times (`time.perf_counter`), the warm-up's end and the end."""

    def __init__(self, start: float, end: float) -> None:
        self.start = start
        self.end = end
        self.latencies_us = array.array("I")
        self.errors: Counter[int] = Counter()
        self.reply_bytes = 0
        self.trouble = ""

    def note(self, sent: float, now: float, status: int, size: int) -> None:
        """An answer; what was sent before the start, or comes after the end, does not count."""
        if sent < self.start or now > self.end:
            return
        if 200 <= status < 400:
            self.latencies_us.append(min(int((now - sent) * 1e6), 0xFFFFFFFF))
            self.reply_bytes = size
        else:
            self.errors[status] += 1


class Connection(asyncio.Protocol):
    """One connection, with one request under way."""

    def __init__(self, request: bytes, recorder: Recorder, done: asyncio.Future[None]) -> None:
        self._request = request
        self._recorder = recorder
        self._done = done
        self._buffer = bytearray()
        self._expected = 0
        self._status = BROKEN
        self._sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Sends the first request."""
        # Not of asyncio's class: uvloop's has the same methods.
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        if self._sent >= self._recorder.end:
            self._transport.close()
            return
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Notes a whole answer, and sends the next request."""
        buffer = self._buffer
        buffer += data
        if not self._expected and not self._read_head():
            return
        if len(buffer) >= self._expected:
            self._recorder.note(self._sent, time.perf_counter(), self._status, self._expected)
            del buffer[: self._expected]
            self._expected = 0
            self._send()

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = bytes(self._buffer[:end]).lower()
        start = head.find(b"\r\ncontent-length:")
        if start < 0:
            self._recorder.trouble = "an answer without content-length can't be measured"
            self._transport.abort()
            return False
        self._status = int(head[9:12])
        self._expected = end + 4 + int(head[start + 17 :].split(b"\r\n", 1)[0])
        return True

    def connection_lost(self, error: Exception | None) -> None:
        """A connection that breaks with a request under way is an error."""
        now = time.perf_counter()
        if now < self._recorder.end:
            self._recorder.note(self._sent, now, BROKEN, 0)
            if error is not None:
                self._recorder.trouble = str(error)
        if not self._done.done():
            self._done.set_result(None)


async def keep_busy(plan: LoadPlan, recorder: Recorder) -> None:
    """One connection after another until the end."""
    loop = asyncio.get_running_loop()
    while time.perf_counter() < recorder.end:
        done: asyncio.Future[None] = loop.create_future()
        try:
            transport, _ = await loop.create_connection(
                lambda done=done: Connection(plan.request, recorder, done),
                plan.host,
                plan.port,
                ssl=_context(plan),
                server_hostname=(plan.server_name or None) if plan.tls else None,
            )
        except OSError as error:
            recorder.errors[BROKEN] += 1
            recorder.trouble = str(error)
            await asyncio.sleep(_RECONNECT_S)
            continue
        try:
            async with asyncio.timeout(recorder.end - time.perf_counter() + LAST_ANSWERS_S):
                await done
        except TimeoutError:
            recorder.errors[BROKEN] += 1
            recorder.trouble = f"no answer within {LAST_ANSWERS_S:g} s after the end"
            transport.abort()
            return
        if recorder.trouble and not recorder.latencies_us:
            await asyncio.sleep(_RECONNECT_S)


def _context(plan: LoadPlan) -> ssl.SSLContext | None:
    if plan.tls is None:
        return None
    from serve.tls_files import ClientFiles, client_context

    ca, certificate, key = (part or None for part in plan.tls)
    return client_context(ClientFiles(ca, certificate, key), "--client-certificate")


async def measure(plan: LoadPlan) -> Load:
    """The whole plan."""
    start = time.perf_counter() + plan.warm_up_s
    recorder = Recorder(start, start + plan.seconds)
    busy = [asyncio.ensure_future(keep_busy(plan, recorder)) for _ in range(plan.connections)]
    await asyncio.sleep(max(0.0, recorder.start - time.perf_counter()))
    before = time.process_time()
    await asyncio.sleep(max(0.0, recorder.end - time.perf_counter()))
    cpu_s = time.process_time() - before
    await asyncio.gather(*busy)
    latencies = recorder.latencies_us.tobytes()
    return Load(plan.seconds, latencies, dict(recorder.errors), cpu_s, recorder.reply_bytes, recorder.trouble)


def main() -> None:
    """Plans from standard input, one a line, until it ends."""
    import uvloop

    for line in sys.stdin.buffer:
        plan = msgspec.json.decode(line, type=LoadPlan)
        sys.stdout.buffer.write(msgspec.json.encode(uvloop.run(measure(plan))) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
