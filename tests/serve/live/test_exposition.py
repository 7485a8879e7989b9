"""Prometheus' text format, as its own client writes it."""

from __future__ import annotations

import math

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from serve.live.exposition import Sample, parse_samples


def test_what_prometheus_client_writes_is_read() -> None:
    registry = CollectorRegistry()
    odd = 'a "quoted"\nname, with \\ and {braces}'
    Counter("onegate_requests", "Requests.", ["model"], registry=registry).labels(odd).inc(3)
    Gauge("other", "Another.", registry=registry).set(2.5)
    Histogram("onegate_seconds", "Time.", buckets=[0.5], registry=registry).observe(1)
    text = generate_latest(registry).decode()
    found = [sample for sample in parse_samples(text) if not sample.name.endswith("_created")]
    assert found == [
        Sample("onegate_requests_total", {"model": odd}, 3.0),
        Sample("other", {}, 2.5),
        Sample("onegate_seconds_bucket", {"le": "0.5"}, 0.0),
        Sample("onegate_seconds_bucket", {"le": "+Inf"}, 1.0),
        Sample("onegate_seconds_count", {}, 1.0),
        Sample("onegate_seconds_sum", {}, 1.0),
    ]


def test_only_the_wanted_names_are_read() -> None:
    assert [sample.name for sample in parse_samples("a_x 1\nb_x 2\na_y 3 1700000000\n", "a_")] == ["a_x", "a_y"]


def test_lines_that_are_no_samples_are_left_out() -> None:
    text = "# HELP a b\nnonsense\na{b=\n\na x\na NaN\na +Inf\n"
    first, second = (sample.value for sample in parse_samples(text))
    assert (math.isnan(first), second) == (True, math.inf)
