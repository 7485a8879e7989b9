"""Streams whose every message has a reply of its own: several at once, replies in the order of the messages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

AT_ONCE = 64
"""Messages of one stream that may be under way, those included whose replies wait for earlier ones. Further messages
stay in the connection, whose flow control then holds the client back."""

_Replies = asyncio.Queue[asyncio.Task[bytes] | None]


class Readers:
    """What reads the streams of one server. `stop` ends them: what was read before is answered still."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = False

    def stop(self) -> None:
        """No stream is read any further."""
        self._stopped = True
        for task in self._tasks:
            task.cancel()

    async def in_order(
        self,
        messages: AsyncIterator[bytes],
        answer: Callable[[bytes], Awaitable[bytes]],
        write: Callable[[bytes], Awaitable[None]],
    ) -> None:
        """Writes the answers to `messages`. Raises what reading or writing raises; `answer` raises nothing. When it is
        cancelled, so are the answers under way."""
        replies: _Replies = asyncio.Queue()
        under_way: set[asyncio.Task[bytes]] = set()
        places = asyncio.Semaphore(AT_ONCE)

        async def read() -> None:
            async for message in messages:
                await places.acquire()
                task = asyncio.ensure_future(answer(message))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
                replies.put_nowait(task)

        reader = asyncio.create_task(read())
        # Not in `read`: one that is cancelled before its turn never begins.
        reader.add_done_callback(lambda _: replies.put_nowait(None))
        self._tasks.add(reader)
        if self._stopped:
            reader.cancel()
        try:
            while (reply := await replies.get()) is not None:
                await write(await reply)
                places.release()
            if not reader.cancelled():
                reader.result()
        finally:
            self._tasks.discard(reader)
            reader.cancel()
            for task in under_way:
                task.cancel()
            # Once it has failed, it holds this frame, by way of what is raised here.
            del reader
