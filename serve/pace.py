"""How fast a queue's executor is, as seen from outside, and when a request that comes now would start.

Pure arithmetic on times that are handed in, in seconds of the event loop's clock. Guesses are low ones: a request must
never be refused because of a bad guess, and one that is taken in vain is told at its deadline.
"""

from __future__ import annotations

SMOOTHING = 0.25
"""Weight of the newest batch: a change of pace is believed after about four."""


class Pace:
    """Smoothed time per row and per batch, from the ends of batches that follow each other.

    From end to end, because slots overlap: what counts is how fast rows go through, whether one after the other in a
    thread or side by side on replicas.
    """

    __slots__ = ("_batch_s", "_mark", "_row_s")

    def __init__(self) -> None:
        self._row_s = 0.0
        self._batch_s = 0.0
        self._mark = 0.0

    def begin(self, now: float) -> None:
        """A batch starts while none runs."""
        self._mark = now

    def end(self, rows: int, now: float) -> None:
        """A batch of `rows` rows has ended."""
        took_s, self._mark = now - self._mark, now
        row_s = took_s / max(rows, 1)
        if not self._row_s:
            self._row_s, self._batch_s = row_s, took_s
            return
        self._row_s += SMOOTHING * (row_s - self._row_s)
        self._batch_s += SMOOTHING * (took_s - self._batch_s)

    def time_for(self, rows: int, batch: int) -> float:
        """Seconds for `rows` rows in batches of `batch`; 0 without history.

        The lower of two guesses: small batches make a row look dearer than it is in a large one, and large ones make a
        batch look dearer than a small one is.
        """
        return min(rows * self._row_s, -(-rows // batch) * self._batch_s)

    def until_start(self, rows_ahead: int, batch: int, now: float) -> float:
        """Seconds until `rows_ahead` rows, those that run included, are through; 0 or less without history."""
        return self.time_for(rows_ahead, batch) - (now - self._mark) if self._row_s else 0.0
