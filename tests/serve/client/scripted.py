"""A server on a real socket that does what a test says, connection by connection."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

Act = Callable[["Conversation"], Awaitable[None]]

ANSWER = b'{"model_name":"m","model_version":"1","outputs":[{"name":"y","datatype":"FP32","shape":[1],"data":[7.0]}]}'
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER)


class Conversation:
    """One connection, from the server's side."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def request(self) -> bytes:
        """A whole request, head and body."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        return head + await self.reader.readexactly(int(length[1]) if length else 0)

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """Ends the connection as a killed process's kernel does when data is unread."""
        connection = self.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class Scripted:
    """`url` of the server, and what it was asked: the requests that acts note."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.port = port
        self.connections = 0


@asynccontextmanager
async def scripted(*acts: Act) -> AsyncIterator[Scripted]:
    """Does the first act on the first connection, and so on, and the last on all later ones."""
    told: list[Scripted] = []
    conversations: list[asyncio.Task[None] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversations.append(asyncio.current_task())
        act = acts[min(told[0].connections, len(acts) - 1)]
        told[0].connections += 1
        try:
            await act(Conversation(reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    told.append(Scripted(server.sockets[0].getsockname()[1]))
    try:
        yield told[0]
    finally:
        server.close()
        for conversation in conversations:
            assert conversation is not None
            conversation.cancel()
            await asyncio.wait([conversation])


def saying(reply: bytes) -> Act:
    """Answers one request with these bytes and closes the connection."""

    async def act(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.say(reply)

    return act


async def answering(conversation: Conversation) -> None:
    """Answers every request."""
    while True:
        await conversation.request()
        await conversation.say(WHOLE)
