"""What a piece of work leaves to Python's cycle collector, which a gateway runs seldom (`serve/garbage.py`)."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import numpy as np


@contextmanager
def left_to_the_collector() -> Iterator[Counter[str]]:
    """What the block has made and counting did not free: objects of onegate, frames of its functions and tensors, by
    name. It is filled in when the block ends."""
    left: Counter[str] = Counter()
    gc.collect()
    gc.disable()
    try:
        yield left
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        left.update(name for each in gc.garbage if (name := _ours(each)))
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def _ours(found: object) -> str | None:
    if isinstance(found, FrameType):
        module = found.f_globals.get("__name__", "")
        return f"frame of {found.f_code.co_qualname}" if module.startswith("serve.") else None
    kind = type(found)
    ours = kind is np.ndarray or str(kind.__module__).startswith("serve.")
    return kind.__qualname__ if ours else None
