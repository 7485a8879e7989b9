"""What of requests is counted when they end, over a real port and in the counter."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from model_store.errors import InternalError, PayloadTooLarge, Unauthenticated
from serve.dialects.base import HttpRequest
from serve.dialects.registry import http_dialects
from serve.front_doors.http import HttpFrontDoor
from serve.metrics.requests import RequestCounter
from serve.request_record import CANCELLED, RequestRecord
from serve.statistics import Duration, VersionStatistics
from tests.serve.conftest import ManualClock as Clock
from tests.serve.tiny_versions import GatedExecutor, dispatcher_of, entry

INFER = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}).encode()


def recorded(clock: Clock, statistics: VersionStatistics | None) -> RequestRecord:
    if statistics is not None:
        statistics.begun += 1
    return RequestRecord("plain", clock.time_ns(), statistics=statistics)


async def test_a_request_is_counted_with_what_it_took_when_it_ends(clock: Clock) -> None:
    counter, counted = RequestCounter(), VersionStatistics("double", "1")
    record = recorded(clock, counted)
    await clock.advance(0.25)
    counter.end(record)
    plain = counted.requests["plain"]
    assert (plain.took.count, plain.took.ns, plain.errors, plain.cancelled) == (1, 250_000_000, {}, 0)
    assert (record.encoded_ns, record.outcome, counted.in_flight) == (clock.time_ns(), "", 0)


async def test_a_failed_request_is_counted_as_a_request_and_by_its_kind(clock: Clock) -> None:
    counter, counted = RequestCounter(), VersionStatistics("double", "1")
    for kind in ("Overloaded", "Overloaded", "status 503"):
        counter.end(recorded(clock, counted), kind)
    assert counted.requests["plain"].took.count == 3
    assert counted.requests["plain"].errors == {"Overloaded": 2, "status 503": 1}


async def test_success_and_failure_are_what_front_doors_record_and_what_nobody_does(clock: Clock) -> None:
    counter, counted = RequestCounter(), VersionStatistics("double", "1")
    counted.unrecorded_success, counted.unrecorded_fail = Duration(1, 7), Duration(2, 8)
    for outcome in ("", "", "Overloaded", CANCELLED):
        record = recorded(clock, counted)
        await clock.advance(1)
        counter.end(record, outcome)
    assert (counted.success, counted.fail) == (Duration(3, 2 * 10**9 + 7), Duration(3, 10**9 + 8))
    assert (counted.cancelled, counted.in_flight) == (Duration(1, 10**9), 0)


async def test_a_cancelled_request_is_counted_as_nothing_else(clock: Clock) -> None:
    counter, counted = RequestCounter(), VersionStatistics("double", "1")
    counter.end(recorded(clock, counted), CANCELLED)
    assert (counted.requests["plain"].took.count, counted.requests["plain"].cancelled) == (0, 1)


async def test_a_request_without_a_version_is_counted_only_where_it_was_refused(clock: Clock) -> None:
    counter = RequestCounter()
    counter.end(recorded(clock, None), CANCELLED)
    counter.end(recorded(clock, None), "ModelNotFound")
    counter.end(recorded(clock, None), "ModelNotFound")
    assert counter.refusals == {("", "plain", "ModelNotFound"): 2}


async def test_records_are_passed_on_when_they_are_counted(clock: Clock) -> None:
    counter, seen = RequestCounter(), list[RequestRecord]()
    counter.on_end = seen.append
    counter.end(recorded(clock, None), "InvalidInput")
    assert [record.outcome for record in seen] == ["InvalidInput"]


# -- through the door ------------------------------------------------------------------------------------------------


@pytest.fixture
def counter() -> RequestCounter:
    return RequestCounter()


async def ask(door: HttpFrontDoor, path: str, body: bytes = INFER, method: str = "POST") -> int:
    return (await door.answer(HttpRequest(method, path, body, {}.get, received_ns=time.perf_counter_ns()))).status


async def test_each_dialect_is_counted_under_its_name(counter: RequestCounter) -> None:
    dispatcher = dispatcher_of(entry())
    door = HttpFrontDoor(http_dialects("torchserve"), dispatcher.answer, 10_000, recorder=counter)
    assert await ask(door, "/v2/models/double/infer") == 200
    assert await ask(door, "/v1/models/double:predict", b'{"instances": [[1, 2]]}') == 200
    assert await ask(door, "/predict/double", b'{"x": [[1, 2]]}') == 200
    counted = dispatcher.loaded["double", 1].statistics
    assert {name: each.took.count for name, each in counted.requests.items()} == {
        "open_inference": 1, "tensorflow_serving": 1, "plain": 1,
    }  # fmt: skip
    assert (counted.in_flight, counter.refusals) == (0, {})


async def test_names_that_a_client_makes_up_are_counted_under_no_name(counter: RequestCounter) -> None:
    dispatcher = dispatcher_of(entry(), unavailable={"broken": "its source is damaged"})
    door = HttpFrontDoor(http_dialects("torchserve"), dispatcher.answer, 10_000, recorder=counter)
    for number in range(1000):
        assert await ask(door, f"/v2/models/made-up-{number}/infer") == 404
        assert await ask(door, f"/v2/models/double/versions/{number + 2}/infer") == 404
    assert await ask(door, "/v2/models/broken/infer") == 503
    assert await ask(door, "/v2/models/double/infer", b"{") == 400
    assert counter.refusals == {
        ("", "open_inference", "ModelNotFound"): 1000,
        ("double", "open_inference", "ModelNotFound"): 1000,
        ("broken", "open_inference", "ModelNotReady"): 1,
        ("", "open_inference", "InvalidInput"): 1,
    }
    assert dispatcher.loaded["double", 1].statistics.requests == {}


async def test_questions_and_paths_of_nobody_are_no_requests(counter: RequestCounter) -> None:
    dispatcher = dispatcher_of(entry())
    door = HttpFrontDoor(http_dialects("torchserve"), dispatcher.answer, 10_000, recorder=counter)
    assert await ask(door, "/v2/models/nobody", method="GET") == 404
    assert await ask(door, "/v2/health/live", method="GET") == 200
    assert await ask(door, "/no/such/path", b"") == 404
    assert (counter.refusals, dispatcher.loaded["double", 1].statistics.requests) == ({}, {})


async def test_a_client_that_leaves_is_counted_as_such(clock: Clock, counter: RequestCounter) -> None:
    executor = GatedExecutor()
    dispatcher = dispatcher_of(entry(), executor=executor)
    door = HttpFrontDoor(http_dialects("torchserve"), dispatcher.answer, 10_000, recorder=counter)
    asking = asyncio.ensure_future(ask(door, "/v2/models/double/infer"))
    await clock.settle()
    counted = dispatcher.loaded["double", 1].statistics
    assert counted.in_flight == 1
    asking.cancel()
    await clock.settle()
    assert counted.in_flight == 0
    assert (counted.requests["open_inference"].took.count, counted.requests["open_inference"].cancelled) == (0, 1)


async def test_what_a_request_waited_and_its_batches_are_in_its_record(clock: Clock, counter: RequestCounter) -> None:
    executor, seen = GatedExecutor(slots=1), list[RequestRecord]()
    counter.on_end = seen.append
    dispatcher = dispatcher_of(entry(), executor=executor)
    door = HttpFrontDoor(http_dialects("torchserve"), dispatcher.answer, 10_000, recorder=counter)
    first = asyncio.ensure_future(ask(door, "/v2/models/double/infer"))
    await clock.settle()
    second, third = (asyncio.ensure_future(ask(door, "/v2/models/double/infer")) for _ in range(2))
    begin_ns = clock.time_ns()
    await clock.advance(1)
    executor.gate.set()
    await clock.settle()
    await asyncio.gather(first, second, third)
    waited = seen[1]
    assert (waited.decoded_ns, waited.queued_ns, waited.encoded_ns) == (begin_ns, begin_ns, begin_ns + 10**9)
    (batch,) = waited.batches
    assert (batch.rows, batch.began_ns, batch.ended_ns) == (2, begin_ns + 10**9, begin_ns + 10**9)
    assert seen[2].batches[0] is batch
    counted = dispatcher.loaded["double", 1].statistics
    assert (counted.queue.count, counted.queue.ns) == (3, 2 * 10**9)


async def test_a_request_refused_by_its_head_or_its_body_is_counted_once(counter: RequestCounter) -> None:
    door = HttpFrontDoor(http_dialects("torchserve"), dispatcher_of(entry()).answer, 10_000, recorder=counter)
    whole = HttpRequest("POST", "/predict/double", b"", {}.get, received_ns=time.perf_counter_ns())
    for request, error in (
        (HttpRequest("POST", "/predict/double", b"", {}.get), PayloadTooLarge("the body may have 10000 bytes")),
        (HttpRequest("GET", "/v2/models/double", b"", {}.get), Unauthenticated("no key")),
        # Its answer was counted, and could not be written.
        (whole, InternalError("a header of the answer is none")),
    ):
        door.refuse(request, error)
    assert counter.refusals == {("", "plain", "PayloadTooLarge"): 1}
