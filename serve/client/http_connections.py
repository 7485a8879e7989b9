"""Connections of a `Client` over HTTP/1.1: one for each call that is under way, kept for the next."""

from __future__ import annotations

import os
import select
import socket
import ssl
import time
from collections import deque

from serve.client.addresses import Address
from serve.client.http_answers import AnswerReader, BadAnswer, HttpAnswer
from serve.client.http_protocol import Message
from serve.client.unanswered import Lost, cut_off, too_late, unreachable
from serve.tls_files import client_context

MOST_IDLE = 64
"""Connections that are kept when nobody needs them."""

JOINED_BYTES = 64 * 1024
"""Smaller messages are copied and sent at once, as one packet may hold them."""


class HttpConnections:
    """Sends the messages of any number of threads to `address`, also in a process that was forked meanwhile."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._context = client_context(address.files, "client") if address.is_encrypted else None
        self._idle: deque[_Connection] = deque()
        self._closed = False
        self._process = os.getpid()

    def send(self, message: Message, timeout_s: float) -> HttpAnswer:
        """The answer. Raises `DeadlineExceeded` where none came in time, and `ModelNotReady` where the connection
        could not be made or was lost."""
        deadline = time.monotonic() + timeout_s
        url = self._address.url
        try:
            if (kept := self._take()) is not None:
                try:
                    return self._answer(kept, message, deadline)
                except Lost as lost:
                    # It may have been closed for having been idle, just as the message was on its way.
                    if lost.begun:
                        raise
            try:
                fresh = _Connection(self._address, self._context, deadline)
            except TimeoutError:
                raise
            except OSError as error:
                raise unreachable(url, error) from error
            return self._answer(fresh, message, deadline)
        except TimeoutError as error:
            raise too_late(url, timeout_s) from error
        except Lost as lost:
            raise cut_off(url, lost.error) from lost.error

    def close(self) -> None:
        """Closes what is idle; from now on each connection ends with its call."""
        self._closed = True
        idle, self._idle = self._idle, deque()
        for connection in idle:
            connection.close()

    def _take(self) -> _Connection | None:
        if self._process != os.getpid():
            # The parent's connections: two processes can't ask on one. The descriptors are this process's copies.
            self._idle, self._process = deque(), os.getpid()
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if not connection.is_stale():
                return connection
            connection.close()

    def _answer(self, connection: _Connection, message: Message, deadline: float) -> HttpAnswer:
        keeps = False
        try:
            answer = connection.ask(message, deadline)
            keeps = connection.keeps
            return answer
        finally:
            if keeps and len(self._idle) < MOST_IDLE and not self._closed:
                self._idle.append(connection)
            else:
                connection.close()


class _Connection:
    """One connection; raises `OSError` where it can't be made."""

    def __init__(self, address: Address, context: ssl.SSLContext | None, deadline: float) -> None:
        made = socket.create_connection((address.host, address.port), timeout=_left_s(deadline))
        try:
            # What is written is all that there is to write: nothing is gained by holding it back.
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if context is not None:
                made.settimeout(_left_s(deadline))
                made = context.wrap_socket(made, server_hostname=address.host)
        except BaseException:
            made.close()
            raise
        self._socket = made
        self._reader = AnswerReader()
        self._poll = select.poll()
        self._poll.register(made, select.POLLIN)

    @property
    def keeps(self) -> bool:
        """Whether the answer that came leaves the connection open."""
        return self._reader.keeps

    def is_stale(self) -> bool:
        """Whether the server has closed it, or said something that nobody asked for."""
        return bool(self._poll.poll(0))

    def ask(self, message: Message, deadline: float) -> HttpAnswer:
        """The answer to one message; raises `TimeoutError` and `Lost`."""
        reader = self._reader
        reader.expect()
        try:
            unsent = self._write(message, deadline)
            whole = False
            while not whole:
                self._socket.settimeout(_left_s(deadline))
                count = self._socket.recv_into(reader.buffer())
                if count:
                    whole = reader.received(count)
                elif reader.ended():
                    break
                else:
                    raise ConnectionResetError("the server closed the connection")
        except TimeoutError:
            raise
        except (OSError, BadAnswer) as error:
            raise Lost(error, reader.begun) from error
        reader.keeps = reader.keeps and not unsent
        return reader.answer

    def close(self) -> None:
        """Ends it."""
        self._socket.close()

    def _write(self, message: Message, deadline: float) -> bool:
        """Whether the server stopped reading before the end: it may have answered already, as it does to a body that is
        too large."""
        parts = [b"".join(message)] if sum(map(len, message)) < JOINED_BYTES else message
        try:
            for part in parts:
                self._socket.settimeout(_left_s(deadline))
                self._socket.sendall(part)
        except (BrokenPipeError, ConnectionResetError):
            return True
        return False


def _left_s(deadline: float) -> float:
    left_s = deadline - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s
