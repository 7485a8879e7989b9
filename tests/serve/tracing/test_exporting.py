"""A collector that is away, silent or full: requests do not notice, memory stays bounded, and the loss is told once."""

from __future__ import annotations

import logging
import time

import pytest

from serve.asking import Asked
from serve.request_record import RequestRecord
from serve.tracing.exporting import LAST_S, Exporting
from serve.tracing.tracer import MAX_KEPT, Tracer
from tests.serve.tracing.collector import collecting
from tests.serve.tracing.traced import settings_for
from tests.serve.waiting import before_long


def note(tracer: Tracer, count: int) -> None:
    for _ in range(count):
        asked = Asked({}.get)
        tracer.begin(asked)
        now_ns = time.perf_counter_ns()
        tracer.note(RequestRecord("plain", now_ns, now_ns, encoded_ns=now_ns, asked=asked))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "2")


def started(url: str) -> tuple[Tracer, Exporting]:
    tracer = Tracer(1.0)
    traces = Exporting(tracer, settings_for(url, sample=1.0))
    traces.start()
    return tracer, traces


def lost_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "onegate"]


@pytest.mark.parametrize("manner", ["away", "silent", "full"])
def test_spans_that_nobody_takes_are_lost_within_bounds_and_told_once(
    manner: str, caplog: pytest.LogCaptureFixture
) -> None:
    with collecting() as collector:
        url = collector.url
        if manner != "away":
            collector.manner = manner  # type: ignore[assignment]
        else:
            collector.close()
        tracer, traces = started(url)
        note(tracer, 10)
        assert before_long(lambda: traces.lost >= 10)
        note(tracer, 3 * MAX_KEPT)
        # Nothing waited for the collector: those that there was no room for are lost by now.
        assert traces.lost >= 2 * MAX_KEPT - 256
        assert before_long(lambda: traces.lost >= 2 * MAX_KEPT + 10)
        begin = time.monotonic()
        traces.close()
        assert time.monotonic() - begin < LAST_S + 10
    assert lost_lines(caplog) == [
        f"traces are being lost: the collector at {url}/v1/traces is away or slow, or too many are kept"
    ]


def test_a_collector_that_comes_back_gets_what_comes_then(caplog: pytest.LogCaptureFixture) -> None:
    with collecting() as collector:
        collector.manner = "full"
        tracer, traces = started(collector.url)
        note(tracer, 3)
        assert before_long(lambda: traces.lost == 3)
        collector.manner = "takes"
        note(tracer, 2)
        assert before_long(lambda: len(lost_lines(caplog)) == 2)
        traces.close()
        assert len(collector.named("infer")) == 2
        assert lost_lines(caplog)[1] == (
            f"traces reach the collector at {collector.url}/v1/traces again; of 3 requests they are lost"
        )


def test_at_the_end_all_that_was_kept_is_sent(caplog: pytest.LogCaptureFixture) -> None:
    with collecting() as collector:
        tracer, traces = started(collector.url)
        note(tracer, 600)
        traces.close()
        assert len(collector.named("infer")) == 600
        assert traces.lost == 0
    assert lost_lines(caplog) == []


def test_the_collector_gets_the_headers_that_it_asks_for() -> None:
    with collecting() as collector:
        tracer = Tracer(1.0)
        settings = settings_for(collector.url)
        settings.headers["authorization"] = "Bearer key"
        traces = Exporting(tracer, settings)
        traces.start()
        note(tracer, 1)
        traces.close()
        assert collector.headers[0]["authorization"] == "Bearer key"


def test_its_own_log_lines_are_not_added_to_ours(capfd: pytest.CaptureFixture[str]) -> None:
    with collecting() as collector:
        collector.close()
        tracer, traces = started(collector.url)
        note(tracer, 1)
        assert before_long(lambda: traces.lost == 1)
        traces.close()
    assert logging.getLogger("opentelemetry").level == logging.CRITICAL
    assert "Failed to export" not in capfd.readouterr().err
