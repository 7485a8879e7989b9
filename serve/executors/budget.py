"""How often a batch may be sent once more: extra work is the last thing that servers need which are short of time."""

from __future__ import annotations

from collections.abc import Callable


class Budget:
    """Further tries that are left.

    Each batch earns `share` of one and each second `per_s`, up to `most`; at the start there are `begin`, or `most`
    where that is less. `clock` tells seconds. `batches` and `taken` count since the start.
    """

    __slots__ = ("_clock", "_left", "_noted_s", "_per_s", "_share", "batches", "most", "taken")

    def __init__(
        self,
        share: float,
        most: float,
        *,
        begin: float = 0.0,
        per_s: float = 0.0,
        clock: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.batches = 0
        self.taken = 0
        self.most = most
        """More may be set while it is used; what is left then is not less."""
        self._share = share
        self._per_s = per_s
        self._clock = clock
        self._noted_s = clock()
        self._left = begin

    def note_batch(self) -> None:
        """A batch is sent."""
        self.batches += 1
        self._left = min(self._left + self._share, self.most)

    def take(self) -> bool:
        """Whether a batch may be sent once more; counted if so."""
        now = self._clock()
        self._left = min(self._left + (now - self._noted_s) * self._per_s, self.most)
        self._noted_s = now
        # Twenty twentieths are a little less than one in binary.
        if self._left < 1 - 1e-9:
            return False
        self._left -= 1
        self.taken += 1
        return True
