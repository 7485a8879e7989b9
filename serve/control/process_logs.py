"""What processes log, for whoever asks the controller: from the file of the node, or from what reports bring."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from serve.log_file import LogFile
from serve.log_lines import LogLine, LogRing
from serve.logs import UntoldLines

MAX_TOLD = 2000
"""Lines of one answer."""


class WantedLines(msgspec.Struct, frozen=True):
    """Which lines: of `model`, numbered from `after` on, none older than `since` in seconds since 1970, and the newest
    `limit` of them."""

    model: str | None = None
    after: int = 0
    since: float = 0.0
    limit: int = MAX_TOLD


class ProcessLogs:
    """The newest lines. `epoch` is the controller's; `file` what this node's processes append to, read when somebody
    asks; without one `untold` has the controller's own lines."""

    def __init__(self, epoch: int, file: str | None, untold: UntoldLines) -> None:
        self._epoch = epoch
        self._ring = LogRing(epoch)
        self._file = None if file is None else LogFile(Path(file))
        self._untold = untold
        self._reading = asyncio.Lock()

    def hear(self, lines: Iterable[LogLine]) -> None:
        """What a process reports."""
        self._ring.extend(lines)

    async def tell(self, wanted: WantedLines) -> dict[str, Any]:
        """The lines, JSON-able; `next` is what `after` has to be for what comes from now on."""
        async with self._reading:
            if self._file is not None:
                self.hear(await asyncio.to_thread(self._file.new_lines))
            own = self._untold.lines()
            self.hear(own)
            self._untold.note_told(own)
        found = self._ring.select(wanted.after, wanted.since, wanted.model, wanted.limit)
        return {"lines": [line.told() for line in found], "next": self._ring.next_number, "epoch": self._epoch}

    def close(self) -> None:
        """Lets go of the file."""
        if self._file is not None:
            self._file.close()
