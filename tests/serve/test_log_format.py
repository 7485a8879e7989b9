"""What lines look like, as text and as JSON, inside of a request and outside."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from serve.asking import ASKED, Asked
from serve.log_format import LogStyle
from serve.request_record import BATCH, BatchRecord
from serve.tracing.context import TraceContext

TRACE = TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")


def line(style: LogStyle, text: str, *args: object, error: BaseException | None = None) -> str:
    told = None if error is None else (type(error), error, error.__traceback__)
    record = logging.LogRecord("onegate", logging.WARNING, __file__, 1, text, args, told)
    record.created = 1_767_323_045.678
    record.msecs = 678.0
    return style.formatter("gateway").format(record)


@contextmanager
def answering(asked: Asked) -> Iterator[None]:
    before = ASKED.set(asked)
    try:
        yield
    finally:
        ASKED.reset(before)


@contextmanager
def running(*requests: Asked) -> Iterator[None]:
    before = BATCH.set(BatchRecord(1, 0, requests=requests))
    try:
        yield
    finally:
        BATCH.reset(before)


JSON = LogStyle("json")
TEXT = LogStyle()


def test_a_line_of_json_has_its_time_in_utc_and_one_line() -> None:
    assert line(JSON, "replica %s\nis gone", "ä") == (
        '{"time":"2026-01-02T03:04:05.678Z","level":"WARNING","process":"gateway","text":"replica ä\\nis gone"}'
    )


def test_a_line_of_a_request_has_its_id_and_its_trace() -> None:
    with answering(Asked({"x-request-id": "order-7"}.get, trace=TRACE)):
        told = json.loads(line(JSON, "hm"))
        assert (told["request"], told["trace"]) == ("order-7", TRACE.trace_id)
        assert line(TEXT, "hm").endswith(" WARNING gateway: hm (request order-7)")


def test_a_line_of_a_batch_has_the_ids_of_its_requests_up_to_eight() -> None:
    with running(*(Asked(made=f"r{number}") for number in range(9))):
        assert json.loads(line(JSON, "hm"))["request"] == "r0,r1,r2,r3,r4,r5,r6,r7,.."
    with running():
        assert "request" not in json.loads(line(JSON, "hm"))


def test_a_traceback_is_a_key_of_its_own_in_json_and_follows_the_line_in_text() -> None:
    try:
        raise ValueError("why")
    except ValueError as error:
        told = json.loads(line(JSON, "what", error=error))
        text = line(TEXT, "what", error=error)
    assert told["text"] == "what"
    assert told["traceback"].endswith("ValueError: why")
    assert text.splitlines()[0].endswith("WARNING gateway: what")
    assert text.endswith("ValueError: why")


def test_what_is_no_text_is_replaced() -> None:
    assert json.loads(line(JSON, "bad \udc80"))["text"] == "bad ?"


@pytest.mark.parametrize(("level", "number"), [("debug", 10), ("info", 20), ("warning", 30), ("error", 40)])
def test_levels_have_the_numbers_of_logging(level: str, number: int) -> None:
    assert LogStyle("text", level).number == number
