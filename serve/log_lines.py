"""Log lines of onegate's processes as data: read from text, the newest of them kept in a bounded ring, and selected."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import msgspec

from serve.log_format import utc_text

MAX_LINES = 10_000
MAX_BYTES = 8 * 2**20
"""Of all texts in a ring: beyond either bound the oldest lines go."""

MAX_TEXT = 16 * 1024
"""Characters that are kept of one line, which may hold a whole traceback."""

_HEAD = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) ([A-Z]+) (\S+): (.*)")


class LogLine(msgspec.Struct, frozen=True):
    """One line, with the traceback below it where it has one. `at` is in seconds since 1970, `process` is `gateway`,
    `controller`, or `<model>-v<version>` for a model replica."""

    at: float
    level: str
    process: str
    text: str

    def told(self) -> dict[str, Any]:
        """JSON-able, with the time in UTC."""
        return {"time": utc_text(self.at), "level": self.level, "process": self.process, "text": self.text}

    def concerns(self, model: str) -> bool:
        """Whether a replica of the model says it, or a line of another process that names the model as a word."""
        of_replica = re.fullmatch(rf"{re.escape(model)}-v\d+", self.process)
        return bool(of_replica or re.search(rf"(?<![\w.-]){re.escape(model)}(?![\w-]|\.\w)", self.text))


class _JsonLine(msgspec.Struct):
    """A line of the log where `logging.format` is `json`."""

    time: datetime
    level: str
    process: str
    text: str
    request: str = ""
    traceback: str = ""


def parse_lines(text: str) -> Iterator[LogLine]:
    """The lines of a log, as text in local time or as JSON. What follows a line of text without a head of its own
    belongs to it; what stands before the first head is left out."""
    head: LogLine | None = None
    rest: list[str] = []
    for line in text.splitlines():
        found = _head(line)
        if found is None:
            rest.append(line)
            continue
        if head is not None:
            yield _with(head, rest)
        head, rest = found, []
    if head is not None:
        yield _with(head, rest)


def _head(line: str) -> LogLine | None:
    if line.startswith("{"):
        try:
            told = msgspec.json.decode(line, type=_JsonLine)
        except msgspec.DecodeError:
            return None
        text = told.text + (f" (request {told.request})" if told.request else "")
        return _with(LogLine(told.time.timestamp(), told.level, told.process, text), told.traceback.splitlines())
    found = _HEAD.fullmatch(line)
    return found and LogLine(datetime.fromisoformat(found[1]).timestamp(), found[2], found[3], found[4])


def _with(head: LogLine, rest: list[str]) -> LogLine:
    return msgspec.structs.replace(head, text="\n".join([head.text, *rest])[:MAX_TEXT])


class LogRing:
    """The newest lines, numbered from `first` on in the order in which they came."""

    def __init__(self, first: int, max_lines: int = MAX_LINES, max_bytes: int = MAX_BYTES) -> None:
        self._lines: deque[LogLine] = deque()
        self._next = first
        self._bytes = 0
        self._max_lines = max_lines
        self._max_bytes = max_bytes

    @property
    def next_number(self) -> int:
        """What the next line gets."""
        return self._next

    def extend(self, lines: Iterable[LogLine]) -> None:
        """Takes in lines; the oldest go where there are too many."""
        for line in lines:
            self._lines.append(line)
            self._next += 1
            self._bytes += len(line.text)
            while len(self._lines) > self._max_lines or (self._bytes > self._max_bytes and len(self._lines) > 1):
                self._bytes -= len(self._lines.popleft().text)

    def select(self, after: int, since: float, model: str | None, limit: int) -> list[LogLine]:
        """The newest `limit` lines, oldest first, of those with a number from `after` on that are not older than
        `since` and concern `model`."""
        start = max(0, after - (self._next - len(self._lines)))
        found: deque[LogLine] = deque(maxlen=limit)
        for place, line in enumerate(self._lines):
            if place >= start and line.at >= since and (model is None or line.concerns(model)):
                found.append(line)
        return list(found)
