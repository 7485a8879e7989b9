"""A client made with h2, which refuses whatever of the server's breaks the protocol: windows, sizes, headers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import h2.config
import h2.connection
import h2.events
import h2.settings

from tests.serve.front_doors.http2_bytes import message, request
from tests.serve.front_doors.http2_wire import Answer
from tests.serve.waiting import PATIENCE_S


class Peer:
    """A connection. What comes is read when a method waits for it, and acknowledged at once unless `holds_back`."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, settings: Mapping[int, int], holds_back: bool
    ) -> None:
        self.reader, self.writer, self.holds_back = reader, writer, holds_back
        config = h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        self.h2 = h2.connection.H2Connection(config)
        self.h2.local_settings = h2.settings.Settings(
            client=True, initial_values={h2.settings.SettingCodes(each): value for each, value in settings.items()}
        )
        self._received = bytearray()
        self.answers: dict[int, Answer] = {}
        self.pongs: list[bytes] = []
        self.h2.initiate_connection()
        self.flush()

    def flush(self) -> None:
        """Sends what h2 has to send."""
        self.writer.write(self.h2.data_to_send())

    def open(self, method: str = "Say") -> int:
        """A stream with headers only."""
        stream: int = self.h2.get_next_available_stream_id()
        self.answers[stream] = Answer()
        self.h2.send_headers(stream, request(method))
        self.flush()
        return stream

    async def send(self, stream: int, content: bytes, *, end: bool = True) -> None:
        """Data as fast as the server lets it."""
        left = memoryview(content)
        while left:
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
            if room <= 0:
                await self.read()
                continue
            self.h2.send_data(stream, left[:room].tobytes())
            left = left[room:]
            self.flush()
            await self.writer.drain()
        if end:
            self.h2.end_stream(stream)
            self.flush()

    async def call(self, method: str, *contents: bytes) -> Answer:
        """The answer to a call with so many messages."""
        stream = self.open(method)
        await self.send(stream, b"".join(map(message, contents)))
        return await self.answer(stream)

    async def answer(self, stream: int) -> Answer:
        """The answer on a stream, whole."""
        answer = self.answers[stream]
        await self.until(lambda: answer.ended or answer.reset is not None)
        return answer

    async def until(self, condition: Callable[[], bool]) -> None:
        """Reads until it holds."""
        while not condition():
            await self.read()

    async def settled(self) -> None:
        """Waits until all that was sent has been read, and what it let run has been sent."""
        for mark in (b"settled1", b"settled2"):
            self.pongs.clear()
            self.h2.ping(mark)
            self.flush()
            await self.until(lambda: bool(self.pongs))

    def grant(self, increment: int, stream: int | None = None) -> None:
        """Lets the server send more."""
        self.h2.increment_flow_control_window(increment, stream)
        self.flush()

    def change(self, settings: Mapping[int, int]) -> None:
        """New settings."""
        self.h2.update_settings({h2.settings.SettingCodes(each): value for each, value in settings.items()})
        self.flush()

    def reset(self, stream: int) -> None:
        self.h2.reset_stream(stream, 8)
        self.flush()

    async def read(self) -> None:
        """Takes what comes next."""
        async with asyncio.timeout(PATIENCE_S):
            received = await self.reader.read(1 << 16)
        assert received, "the connection has ended"
        self._received += received
        # One frame at a time: h2 takes settings to hold from the next piece on, not from their acknowledgement.
        while len(self._received) >= 9 and len(self._received) >= (
            end := 9 + int.from_bytes(self._received[:3], "big")
        ):
            for event in self.h2.receive_data(bytes(self._received[:end])):
                self._note(event)
            del self._received[:end]
        self.flush()

    def _note(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.PingAckReceived):
            self.pongs.append(event.ping_data)
        elif isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
            self.answers[event.stream_id].add((str(name), str(value)) for name, value in event.headers)
        elif isinstance(event, h2.events.DataReceived):
            self.answers[event.stream_id].content += event.data
            if not self.holds_back and event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            self.answers[event.stream_id].ended = True
        elif isinstance(event, h2.events.StreamReset):
            self.answers[event.stream_id].reset = int(event.error_code)
        else:
            assert not isinstance(event, h2.events.ConnectionTerminated), event


@asynccontextmanager
async def peer_of(
    port: int, settings: Mapping[int, int] | None = None, *, holds_back: bool = False
) -> AsyncIterator[Peer]:
    """A client with `settings`; one that `holds_back` grants the server no more than the test does."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    peer = Peer(reader, writer, settings or {}, holds_back)
    try:
        # The server's settings come first, so that the test begins with them.
        await peer.settled()
        yield peer
    finally:
        writer.transport.abort()
