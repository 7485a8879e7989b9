"""Traces of batched requests on a replica, log lines as JSON and the access log, of a gateway as a user starts it."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.e2e.models import body, write_slow
from tests.e2e.running import get, running
from tests.serve.tracing.collector import attributes, collecting

TRACE = "4bf92f3577b34da6a3ce929d0e0e473"


def test_a_collector_gets_the_trace_of_a_batch_and_the_log_its_lines(tmp_path: Path) -> None:
    write_slow(tmp_path / "slow.onnx", steps=100)
    replicas = {"executor": "replicas", "replicas": 1, "batching": {"max_batch_size": 8}}
    config = {
        "store": "store",
        "logging": {"access": True, "access_file": "access.log"},
        "models": [
            {"name": "slow", "source": "slow.onnx", "serve": replicas},
        ],
    }
    with collecting() as collector:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_SERVICE_NAME": "shop"}
        with running(tmp_path, config, environment=environment, words=["--log-format", "json"]) as gateway:
            gateway.wait_until_settled()

            def ask(number: int) -> int:
                headers = {"traceparent": f"00-{TRACE}{number}-00f067aa0ba902b7-01", "x-request-id": f"order-{number}"}
                return get(f"{gateway.url}/v2/models/slow/infer", body(7.0), headers)[0]

            with ThreadPoolExecutor(6) as pool:
                assert list(pool.map(ask, range(6))) == [200] * 6
            assert get(f"{gateway.url}/v2/models/slow/infer", b"{")[0] == 400
            servers = {span.trace_id: span for span in collector.wait(6, "infer slow")}
            assert gateway.stop() == 0
            lines = [json.loads(line) for line in (tmp_path / "access.log").read_text().splitlines()]
            told = [line for line in gateway.log.read_text().splitlines() if line.startswith("{")]
    batches = collector.named("batch")
    assert sum(attributes(batch)["onegate.batch.requests"] for batch in batches) == 6
    shared = [batch for batch in batches if attributes(batch)["onegate.batch.requests"] > 1]
    assert shared, "six slow requests at once share a batch"
    for batch in shared:
        of_all = {batch.trace_id} | {link.trace_id for link in batch.links}
        assert len(of_all) == attributes(batch)["onegate.batch.requests"]
        assert all(servers[link.trace_id].span_id == link.span_id for link in batch.links)
        assert batch.parent_span_id == servers[batch.trace_id].span_id
        (hop,) = [span for span in collector.named("hop") if span.parent_span_id == batch.span_id]
        (run,) = [span for span in collector.named("run") if span.parent_span_id == hop.span_id]
        assert hop.start_time_unix_nano <= run.start_time_unix_nano < run.end_time_unix_nano <= hop.end_time_unix_nano
    for trace_id, server in servers.items():
        inside = [
            span for span in collector.spans if (span.trace_id, span.parent_span_id) == (trace_id, server.span_id)
        ]
        assert {span.name for span in inside} >= {"decode", "queue", "encode"}
    # Kept though nobody asked for it: it failed.
    (failed,) = [span for span in collector.named("infer") if attributes(span)["onegate.kept"] == "failed"]
    assert attributes(failed)["error.type"] == "InvalidInput"
    assert {resource["service.name"] for resource in collector.resources} == {"shop"}
    asked = [line for line in lines if line["target"].endswith("/infer")]
    answered = [(line["request"], line["trace"]) for line in asked if line["status"] == 200]
    assert sorted(answered) == [(f"order-{number}", f"{TRACE}{number}") for number in range(6)]
    assert [line["error"] for line in asked if line["status"] == 400] == ["InvalidInput"]
    assert all(json.loads(line)["process"] for line in told)
