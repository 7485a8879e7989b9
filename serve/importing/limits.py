"""The largest values that the config admits, for numbers that come from elsewhere; a test holds them to the config."""

from __future__ import annotations

from serve.importing.base import Notes

LARGEST_BATCH = 4096
LARGEST_QUEUE = 1_000_000
LARGEST_BODY_BYTES = 2**31 - 1
LONGEST_DELAY_MS = 60_000
LONGEST_DEADLINE_MS = 3_600_000
MOST_REPLICAS = 256
LARGEST_PORT = 65535


def deadline_after(deadline_ms: int, delay_ms: float, key: str, notes: Notes) -> int | None:
    """A deadline that leaves time for the delay of a batch; None where it leaves none, which is told."""
    if deadline_ms <= delay_ms:
        notes.add(key, f"a deadline counts from the request's arrival, and {deadline_ms} ms are over before a batch is")
        return None
    return notes.at_most(key, deadline_ms, LONGEST_DEADLINE_MS)
