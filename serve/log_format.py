"""What a log line looks like: text for people, or an object of JSON; one schema for all processes.

| key | what |
| --- | --- |
| `time` | when, in UTC, as `2026-01-02T03:04:05.678Z` |
| `level` | `DEBUG`, `INFO`, `WARNING` or `ERROR` |
| `process` | `up`, `controller`, `gateway`, or `<model>-v<version>` |
| `text` | what is said |
| `request`, `trace` | ids of the request that it is about, where it is about one |
| `traceback` | of an error that nobody expected |

Lines about requests (`serve/access_log.py`) have more.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal

import msgspec

from serve.asking import ASKED, together
from serve.request_record import BATCH

_TEXT = "%(asctime)s %(levelname)s %(who)s: %(message)s"

LINE = "onegate_line"
"""Attribute of a record whose line has more keys than usual: a mapping of them."""


class LogStyle(msgspec.Struct, frozen=True):
    """How lines are written, and from which level on."""

    format: Literal["text", "json"] = "text"
    level: str = "warning"

    @property
    def number(self) -> int:
        """The level as `logging` has it."""
        return logging.getLevelNamesMapping()[self.level.upper()]

    def formatter(self, who: str) -> logging.Formatter:
        """For the lines of the process `who`."""
        return JsonFormatter(who) if self.format == "json" else TextFormatter(who)


TEXT_LOG = LogStyle()


class TextFormatter(logging.Formatter):
    """A line of text in local time, with the tracebacks below it."""

    def __init__(self, who: str) -> None:
        super().__init__(_TEXT, defaults={"who": who})

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # the name that `logging` calls
        """The line, with the id of the request that is being answered."""
        line = super().formatMessage(record)
        id = request_ids()
        return f"{line} (request {id})" if id else line


class JsonFormatter(logging.Formatter):
    """An object of JSON on one line."""

    def __init__(self, who: str) -> None:
        super().__init__()
        self._who = who

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "time": utc_text(record.created),
            "level": record.levelname,
            "process": self._who,
            "text": record.getMessage(),
        }
        if id := request_ids():
            line["request"] = id
        asked = ASKED.get()
        if asked is not None and asked.trace_id:
            line["trace"] = asked.trace_id
        line |= getattr(record, LINE, {})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json_line(line)


def request_ids() -> str:
    """The id of the request that is being answered, or those of the batch that is being run, with commas between them;
    empty where there is neither."""
    asked, batch = ASKED.get(), BATCH.get()
    if asked is not None:
        return asked.id
    return "" if batch is None else together(batch.requests)


def json_line(line: dict[str, Any]) -> str:
    """As one line; what is no UTF-8 is replaced."""
    try:
        return msgspec.json.encode(line).decode()
    except UnicodeEncodeError:
        return msgspec.json.encode({key: _readable(value) for key, value in line.items()}).decode()


def utc_text(at_s: float) -> str:
    """Seconds since 1970 as `2026-01-02T03:04:05.678Z`."""
    second, ms = divmod(round(at_s * 1000), 1000)
    return f"{_utc_second(second)}.{ms:03}Z"


def local_text(at_s: float) -> str:
    """Seconds since 1970 in local time, as lines of text have it: `2026-01-02 03:04:05,678`."""
    second, ms = divmod(round(at_s * 1000), 1000)
    return f"{_local_second(second)},{ms:03}"


# Of one second there may be thousands of lines.
@lru_cache(maxsize=4)
def _utc_second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


@lru_cache(maxsize=4)
def _local_second(second: int) -> str:
    return datetime.fromtimestamp(second).strftime("%Y-%m-%d %H:%M:%S")


def _readable(value: Any) -> Any:
    return value.encode(errors="replace").decode() if isinstance(value, str) else value
