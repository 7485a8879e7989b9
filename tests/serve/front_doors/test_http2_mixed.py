"""Everything at once that a client may do, in an order that dice decide: each call has its own answer at the end."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import pytest

from tests.serve.front_doors.http2_bytes import Setting, message
from tests.serve.front_doors.http2_peer import Peer, peer_of
from tests.serve.front_doors.http2_service import Served
from tests.serve.waiting import eventually

WINDOWS = (0, 1, 100, 16_384, 65_535, 1 << 20)
STEPS = 150


class Player:
    """A client that plays one game."""

    def __init__(self, peer: Peer, dice: random.Random) -> None:
        self.peer, self.dice = peer, dice
        self.expected: dict[int, list[bytes]] = {}
        self._unsent: dict[int, bytes] = {}
        self._moves: list[Callable[[], Awaitable[None]]] = [
            self._open, self._open, self._send, self._send, self._send, self._send, self._grant, self._grant,
            self._change, self._settle, self._reset,
        ]  # fmt: skip

    async def play(self) -> None:
        """All moves, and then whatever is left to do."""
        for _ in range(STEPS):
            await self.dice.choice(self._moves)()
        for stream in list(self._unsent):
            await self.peer.send(stream, self._unsent.pop(stream))
        self.peer.grant(1 << 26)
        for stream in self.expected:
            if not self.peer.answers[stream].ended:
                self.peer.grant(1 << 22, stream)

    async def _open(self) -> None:
        size = self.dice.choice((0, 1, 100, 5000, 70_000))
        content = self.dice.randbytes(size)
        method, sent, expected = self.dice.choice(
            (
                ("Say", [content], [content]),
                ("Large", [b"%d" % size], [(bytes(range(251)) * (size // 251 + 1))[:size]]),
                ("Count", [b"5"], [b"0", b"1", b"2", b"3", b"4"]),
                ("Each", [content, b"", b"a"] * 3, [content, b"", b"a"] * 3),
            )
        )
        stream = self.peer.open(method)
        self.expected[stream] = expected
        self._unsent[stream] = b"".join(map(message, sent))

    async def _send(self) -> None:
        if not self._unsent:
            return
        stream = self.dice.choice(list(self._unsent))
        count = self.dice.choice((0, 20, 3000, 1 << 20))
        part, rest = self._unsent[stream][:count], self._unsent[stream][count:]
        if count > 3000 or rest:
            self._unsent[stream] = rest
            if not rest:
                del self._unsent[stream]
            await self.peer.send(stream, part, end=not rest)

    async def _grant(self) -> None:
        under_way = [stream for stream in self.expected if not self.peer.answers[stream].ended]
        if under_way:
            self.peer.grant(self.dice.choice((1, 50, 9000, 100_000)), self.dice.choice(under_way))
        self.peer.grant(self.dice.choice((1, 70_000)))

    async def _change(self) -> None:
        self.peer.change(
            {
                Setting.INITIAL_WINDOW_SIZE: self.dice.choice(WINDOWS),
                Setting.MAX_FRAME_SIZE: self.dice.choice((16_384, 20_000, 1 << 20)),
            }
        )

    async def _settle(self) -> None:
        await self.peer.settled()

    async def _reset(self) -> None:
        stream = self.dice.choice([0, 0, 0, *self._unsent])
        if stream:
            del self._unsent[stream], self.expected[stream]
            self.peer.reset(stream)


@pytest.mark.parametrize("seed", range(20))
async def test_each_call_has_its_own_answer_whatever_goes_on_around_it(served: Served, seed: int) -> None:
    dice = random.Random(seed)
    windows: dict[int, int] = {Setting.INITIAL_WINDOW_SIZE: dice.choice(WINDOWS)}
    async with peer_of(served.port, windows, holds_back=True) as peer:
        player = Player(peer, dice)
        await player.play()
        for stream, expected in player.expected.items():
            answer = await peer.answer(stream)
            assert (answer.code, answer.messages) == ("OK", expected)
    await eventually(lambda: served.echo.under_way == 0)
