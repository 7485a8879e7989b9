"""An application that tells what it was asked, and a connection to it by hand."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from model_store.errors import OnegateError, Overloaded
from serve.dialects.base import HttpReply, HttpRequest, own_error
from serve.errors import presentable
from serve.in_place import InPlace, InPlaceBytes
from tests.serve.waiting import PATIENCE_S

MAX_BODY_BYTES = 8_000_000


GET = b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n"


def post(path: str, body: bytes, *headers: bytes) -> bytes:
    lines = [b"POST %b HTTP/1.1" % path.encode(), b"host: x", b"content-length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


class Echo:
    """Answers with what it was asked, or, under /echo, with the body; under /wait when the test says so."""

    def __init__(self) -> None:
        self.asked: list[HttpRequest] = []
        self.gate = asyncio.Event()
        self.cancelled = 0
        self.reply: HttpReply | None = None
        self.most_under_way = 0
        self.max_body_bytes = MAX_BODY_BYTES

    def admit(self, request: HttpRequest, under_way: int) -> int:
        self.most_under_way = max(self.most_under_way, under_way)
        if request.path == "/busy":
            raise Overloaded("come again")
        return self.max_body_bytes

    def room(self, request: HttpRequest, length: int) -> InPlace:
        return InPlaceBytes(length)

    async def answer(self, request: HttpRequest) -> HttpReply:
        self.asked.append(request)
        if request.path == "/wait":
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        if self.reply is not None and request.path != "/after":
            return self.reply
        if request.path == "/echo":
            return HttpReply(200, request.body)
        told = {"method": request.method, "path": request.path, "query": request.query, "body": len(request.body)}
        headers = {name: value for name, value in request.headers.items() if name.startswith("x-")}
        return HttpReply(200, json.dumps(told | {"headers": headers}).encode())

    def refuse(self, request: HttpRequest, error: Exception) -> HttpReply:
        return own_error(error if isinstance(error, OnegateError) else presentable(error))


class Client:
    """A connection, and what comes back on it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, *parts: bytes) -> None:
        self.writer.write(b"".join(parts))

    async def reply(self, *, head_only: bool = False) -> tuple[int, dict[str, str], bytes]:
        """The next reply: status, headers, body."""
        async with asyncio.timeout(PATIENCE_S):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            start, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines)
            size = 0 if head_only else int(headers.get("content-length", 0))
            return int(start.split()[1]), headers, await self.reader.readexactly(size)

    async def told(self) -> Any:
        """What the application was asked, of a reply that must be good."""
        status, _, body = await self.reply()
        assert status == 200, body
        return json.loads(body)

    async def end(self) -> bytes:
        """What comes until the server closes the connection."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.reader.read()
