"""A plugin of pytest that holds threads and event loops up at random, as a busy machine does (`make test-stalled`).

A test that fails with it and passes without waits for too short a time, or takes the order in which two things happen
for granted. The pauses follow from `STALLS_SEED` and a test's name.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

_SEED = os.environ.get("STALLS_SEED", "1")
_random = random.Random(_SEED)
_submit = ThreadPoolExecutor.submit
_run_handle = asyncio.Handle._run
_run_thread = threading.Thread.run


def _stall(share: float, most_s: float) -> None:
    if _random.random() < share:
        time.sleep(_random.random() * most_s)


def _submit_stalled(self: ThreadPoolExecutor, work: Callable[..., Any], /, *args: Any, **keys: Any) -> Future[Any]:
    def run() -> Any:
        _stall(0.3, 0.25)
        try:
            return work(*args, **keys)
        finally:
            _stall(0.1, 0.05)

    return _submit(self, run)


def _run_handle_stalled(self: asyncio.Handle) -> None:
    _stall(0.01, 0.03)
    _stall(0.0005, 0.6)
    _run_handle(self)


def _run_thread_stalled(self: threading.Thread) -> None:
    _stall(0.3, 0.1)
    _run_thread(self)


def pytest_configure() -> None:
    """From here on all is held up."""
    ThreadPoolExecutor.submit = _submit_stalled  # type: ignore[method-assign, assignment]
    asyncio.Handle._run = _run_handle_stalled  # type: ignore[method-assign]
    threading.Thread.run = _run_thread_stalled  # type: ignore[method-assign]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """The same pauses for a test, whatever ran before it."""
    _random.seed(_SEED + item.nodeid)
