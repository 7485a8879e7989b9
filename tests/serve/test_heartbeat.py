"""When a gateway's report is due."""

from __future__ import annotations

import asyncio

from serve.heartbeat import Heartbeat
from tests.serve.waiting import eventually

NEVER_S = 1000.0


async def test_the_first_report_is_due_at_once_and_the_next_with_news_or_when_the_period_is_over() -> None:
    heartbeat = Heartbeat(NEVER_S)
    await heartbeat.due(3)
    waiting = asyncio.ensure_future(heartbeat.due(3))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    heartbeat.note_news()
    await waiting

    regular = Heartbeat(0.01)
    for _ in range(3):
        await regular.due(3)


async def test_what_is_noted_after_a_report_was_due_is_for_the_next() -> None:
    heartbeat = Heartbeat(NEVER_S)
    await heartbeat.due(0)
    heartbeat.note_news()
    await heartbeat.due(0)
    waiting = asyncio.ensure_future(heartbeat.due(0))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    waiting.cancel()


async def test_news_that_come_together_are_one_report() -> None:
    heartbeat, reports = Heartbeat(NEVER_S), 0

    async def report() -> None:
        nonlocal reports
        while True:
            await heartbeat.due(0)
            reports += 1

    reporting = asyncio.ensure_future(report())
    for _ in range(5):
        heartbeat.note_news()
    await eventually(lambda: reports == 1)
    heartbeat.note_news()
    await eventually(lambda: reports == 2)
    reporting.cancel()
