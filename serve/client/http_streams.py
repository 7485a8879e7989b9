"""Connections of an `AsyncClient` over HTTP/1.1, on the event loop that asks."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from typing import cast

from serve.client.addresses import Address
from serve.client.http_answers import AnswerReader, BadAnswer, HttpAnswer
from serve.client.http_connections import JOINED_BYTES, MOST_IDLE
from serve.client.http_protocol import Message
from serve.client.unanswered import Lost, cut_off, too_late, unreachable
from serve.tls_files import client_context


class HttpStreams:
    """Sends messages to `address`. What is kept is of one event loop; another begins anew."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._context = client_context(address.files, "client") if address.is_encrypted else None
        self._idle: deque[_Connection] = deque()
        self._closed = False
        self._owner: tuple[int, object] | None = None

    async def send(self, message: Message, timeout_s: float) -> HttpAnswer:
        """The answer; raises as `HttpConnections.send` does. Who is cancelled leaves the connection, and the server
        stops working for it."""
        url = self._address.url
        try:
            async with asyncio.timeout(timeout_s):
                return await self._send(message)
        except TimeoutError as error:
            raise too_late(url, timeout_s) from error
        except Lost as lost:
            raise cut_off(url, lost.error) from lost.error

    async def close(self) -> None:
        """Closes what is idle; from now on each connection ends with its call."""
        self._closed = True
        idle, self._idle = self._idle, deque()
        for connection in idle:
            connection.close()

    async def _send(self, message: Message) -> HttpAnswer:
        if (kept := self._take()) is not None:
            try:
                return await self._answer(kept, message)
            except Lost as lost:
                if lost.begun:
                    raise
        return await self._answer(await self._connect(), message)

    async def _connect(self) -> _Connection:
        address = self._address
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(
                _Connection,
                address.host,
                address.port,
                ssl=self._context,
                server_hostname=address.host if self._context else None,
            )
        except TimeoutError:
            raise
        except OSError as error:
            raise unreachable(address.url, error) from error
        return connection

    def _take(self) -> _Connection | None:
        owner = (os.getpid(), asyncio.get_running_loop())
        if self._owner != owner:
            self._idle, self._owner = deque(), owner
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed:
                return connection
        return None

    async def _answer(self, connection: _Connection, message: Message) -> HttpAnswer:
        keeps = False
        try:
            answer = await connection.ask(message)
            keeps = connection.keeps
            return answer
        finally:
            if keeps and len(self._idle) < MOST_IDLE and not self._closed:
                self._idle.append(connection)
            else:
                connection.close()


class _Connection(asyncio.BufferedProtocol):
    """One connection."""

    def __init__(self) -> None:
        self._reader = AnswerReader()
        self._answer: asyncio.Future[HttpAnswer] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._is_gone = False
        self.is_closed = False
        """By either end."""

    @property
    def keeps(self) -> bool:
        """Whether the answer that came leaves the connection open."""
        return self._reader.keeps and not self.is_closed

    async def ask(self, message: Message) -> HttpAnswer:
        """The answer to one message; raises `Lost`."""
        self._reader.expect()
        answer: asyncio.Future[HttpAnswer] = asyncio.get_running_loop().create_future()
        self._answer = answer
        parts = [b"".join(message)] if sum(map(len, message)) < JOINED_BYTES else message
        for part in parts:
            # An answer that comes before all is sent is a refusal; nobody reads the rest.
            if answer.done():
                break
            self._transport.write(part)
            await self._writable.wait()
        else:
            return await answer
        told = await answer
        self._reader.keeps = False
        return told

    def close(self) -> None:
        """Ends it, without waiting for what is not sent yet."""
        self.is_closed = True
        if not self._is_gone:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        # One of uvloop is of none of these classes.
        self._transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Called by the loop: where the next bytes go."""
        return self._reader.buffer()

    def buffer_updated(self, nbytes: int) -> None:
        """Called by the loop when they are there."""
        if self._answer is None or self._answer.done():
            # Nothing was asked.
            self.close()
            return
        try:
            if self._reader.received(nbytes):
                self._answer.set_result(self._reader.answer)
        except BadAnswer as error:
            self._lose(error)

    def eof_received(self) -> None:
        """Called by the loop when the server will say no more."""
        self.is_closed = True
        if self._answer is not None and not self._answer.done() and self._reader.ended():
            self._answer.set_result(self._reader.answer)

    def connection_lost(self, error: Exception | None) -> None:
        """Called by the loop at the end."""
        self._is_gone = True
        self._lose(error or ConnectionResetError("the server closed the connection"))

    def pause_writing(self) -> None:
        """Called by the loop when enough waits to be sent."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Called by the loop when there is room again."""
        self._writable.set()

    def _lose(self, error: Exception) -> None:
        self.is_closed = True
        self._writable.set()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(Lost(error, self._reader.begun))
