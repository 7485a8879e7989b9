"""The log file of a node, read from where the last look ended, while others append to it and put it aside when full."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from serve.log_lines import LogLine, parse_lines
from serve.logs import aside


class LogFile:
    """What stands in `path` and in the file that was put aside for it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # Open files keep their inode from being used again, by which they are known.
        self._open: dict[int, BinaryIO] = {}

    def new_lines(self) -> list[LogLine]:
        """The whole lines that came since the last call, oldest first; at the first call all that there are."""
        found: list[LogLine] = []
        present = set()
        for path in (aside(self._path), self._path):
            try:
                file: BinaryIO = path.open("rb")
            except FileNotFoundError:
                continue
            inode = os.fstat(file.fileno()).st_ino
            if inode in self._open:
                file.close()
            file = self._open.setdefault(inode, file)
            present.add(inode)
            found += parse_lines(_whole_lines(file))
        for gone in self._open.keys() - present:
            self._open.pop(gone).close()
        return found

    def close(self) -> None:
        """Lets go of the files."""
        while self._open:
            self._open.popitem()[1].close()


def _whole_lines(file: BinaryIO) -> str:
    start = file.tell()
    content = file.read()
    end = content.rfind(b"\n") + 1
    file.seek(start + end)
    return content[:end].decode(errors="replace")
