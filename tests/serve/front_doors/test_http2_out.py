"""What an HTTP/2 server sends."""

from __future__ import annotations

import asyncio
from unittest.mock import Mock

from serve.front_doors.http2_out import JOINED_TO_BYTES, Outbox
from serve.front_doors.http2_stream_table import StreamTable


async def test_what_is_sent_on_a_connection_that_closes_is_not_kept() -> None:
    out = Outbox(Mock(is_closing=lambda: True), asyncio.get_running_loop(), StreamTable())
    for _ in range(10):
        out.say(bytes(JOINED_TO_BYTES))
    assert out.size <= JOINED_TO_BYTES
