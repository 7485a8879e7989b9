"""Python's cycle collector in a process that answers requests for long."""

from __future__ import annotations

import gc

YOUNG_OBJECTS = 20_000
"""Made and not freed since the last pass. A busy gateway holds some thousands for requests under way, so that with
Python's 700 the collector goes over them all the time, for about 5% of a small request, and finds nothing: what a
request makes is freed by counting."""


def collect_rarely() -> None:
    """To be called once all is imported: what lives now stays out of later passes, which come seldom."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 20)
