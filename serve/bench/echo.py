"""A server that does nothing: `python -m serve.bench.echo REQUEST_BYTES REPLY_BYTES` prints its port and answers each
request of that size with a reply of that size, so that a client's own ceiling can be measured."""

from __future__ import annotations

import asyncio
import sys
from typing import cast


class Echo(asyncio.Protocol):
    """One connection."""

    def __init__(self, request_bytes: int, reply: bytes) -> None:
        self._request_bytes = request_bytes
        self._reply = reply
        self._received = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport."""
        # Not of asyncio's class: uvloop's has the same methods.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Answers when a whole request is there."""
        self._received += len(data)
        while self._received >= self._request_bytes:
            self._received -= self._request_bytes
            self._transport.write(self._reply)


async def serve(request_bytes: int, reply_bytes: int) -> None:
    """Until standard input ends, which it does with the process that started this one."""
    head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n"
    body_bytes = max(0, reply_bytes - len(head % reply_bytes))
    reply = head % body_bytes + bytes(body_bytes)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Echo(request_bytes, reply), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve(int(sys.argv[1]), int(sys.argv[2])))
