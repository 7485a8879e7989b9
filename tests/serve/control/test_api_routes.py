"""What the management port answers: to the commands, to the console, and in place of dialects."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import AsyncIterator

import pytest

from model_store.errors import Forbidden, ModelNotReady
from serve.control.process_logs import MAX_TOLD, WantedLines
from serve.handed_calls import HandedCall
from serve.operations import ListModels, Operation, RollBack, SetLabels, SetTraffic
from tests.serve.control.managed import CONFIG, Port, listening


@pytest.fixture
async def port(free_port: int) -> AsyncIterator[Port]:
    async with listening(free_port) as port:
        yield port


async def test_the_state_is_answered(port: Port) -> None:
    assert await port.call("GET", "/api/state") == (200, {"generation": 4, "models": []})


async def test_metrics_are_answered_as_text(port: Port) -> None:
    url = f"http://127.0.0.1:{port.number}/metrics"
    status, content_type, page = await asyncio.to_thread(_get, url)
    assert (status, content_type) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert page == b"onegate_gateways 1\n"


async def test_metrics_that_are_not_known_yet_are_503(port: Port) -> None:
    port.desired.refusal = ModelNotReady("the gateways are still telling", retry_after_s=1.2)
    answer = {"error": "the gateways are still telling", "kind": "ModelNotReady"}
    assert await port.call("GET", "/metrics") == (503, answer)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_metrics_are_only_read(port: Port, method: str) -> None:
    assert await port.call(method, "/metrics") == (405, {"error": "Method Not Allowed"})


async def test_a_page_of_another_origin_can_t_read_metrics(port: Port) -> None:
    status, answer = await port.call("GET", "/metrics", Origin="http://evil.example")
    assert (status, answer["kind"]) == (403, "Forbidden")


def _get(url: str) -> tuple[int, str, bytes]:
    with urllib.request.urlopen(url, timeout=10) as reply:
        return reply.status, reply.headers["content-type"], reply.read()


async def test_a_comparison_is_answered(port: Port) -> None:
    answer = {"model": "digits", "versions": [], "comparisons": []}
    assert await port.call("GET", "/api/models/digits/comparison") == (200, answer)
    status, answer = await port.call("GET", "/api/models/nobody/comparison")
    assert (status, answer["kind"]) == (404, "ModelNotFound")
    assert (await port.call("PUT", "/api/models/digits/comparison"))[0] == 405


async def test_log_lines_are_answered_as_they_are_wanted(port: Port) -> None:
    answer = {"lines": [], "next": 7, "epoch": 1}
    assert await port.call("GET", "/api/logs") == (200, answer)
    query = "model=digits&after=5&since=2026-01-02T03:04:05Z&limit=10"
    assert await port.call("GET", f"/api/logs?{query}") == (200, answer)
    assert (await port.call("GET", "/api/logs?limit=1000000"))[0] == 200
    assert port.desired.wanted_lines == [
        WantedLines(None, 0, 0.0, MAX_TOLD),
        WantedLines("digits", 5, 1767323045.0, 10),
        WantedLines(None, 0, 0.0, MAX_TOLD),
    ]


@pytest.mark.parametrize("query", ["since=yesterday", "since=2026-01-02T03:04:05", "after=-1", "limit=x"])
async def test_a_wrong_wish_for_log_lines_is_refused(port: Port, query: str) -> None:
    status, answer = await port.call("GET", f"/api/logs?{query}")
    assert (status, answer["kind"], port.desired.wanted_lines) == (400, "InvalidInput", [])


async def test_a_config_is_applied(port: Port) -> None:
    assert await port.call("PUT", "/api/config", CONFIG) == (
        200,
        {
            "applied": True,
            "changes": [
                {
                    "model": "digits",
                    "action": "add",
                    "details": ["/exports/digits.onnx: will be converted to a new version"],
                    "differences": [],
                    "versions": [],
                    "traffic": None,
                }
            ],
            "generation": 5,
        },
    )
    (applied,) = port.desired.applied
    assert (applied.store, applied.models[0].source) == ("/store", "/exports/digits.onnx")
    assert port.desired.planned == []


async def test_the_generation_that_a_config_was_made_from_is_passed_on(port: Port) -> None:
    assert (await port.call("PUT", "/api/config?generation=4", CONFIG))[0] == 200
    assert port.desired.made_from == 4
    assert await port.call("PUT", "/api/config?generation=-4", CONFIG) == (
        400,
        {"error": "generation: expected a whole number, got '-4'", "kind": "InvalidInput"},
    )
    assert len(port.desired.applied) == 1


async def test_a_plan_applies_nothing(port: Port) -> None:
    status, answer = await port.call("PUT", "/api/config?plan=true", CONFIG)
    assert (status, answer["applied"], answer["generation"]) == (200, False, 4)
    assert [change["model"] for change in answer["changes"]] == ["digits"]
    assert (len(port.desired.planned), port.desired.applied) == (1, [])


async def test_plan_false_applies(port: Port) -> None:
    status, answer = await port.call("PUT", "/api/config?plan=false", CONFIG)
    assert (status, answer["applied"], len(port.desired.applied)) == (200, True, 1)


async def test_a_config_may_be_yaml(port: Port) -> None:
    text = "store: /store\nmodels:\n- name: digits\n  source: /exports/zürich.onnx\n"
    status, _ = await port.call("PUT", "/api/config", text.encode())
    assert (status, port.desired.applied[0].models[0].source) == (200, "/exports/zürich.onnx")


@pytest.mark.parametrize(
    ("method", "call", "body", "operation"),
    [
        ("PUT", "traffic", b'{"2": 90, "3.0": 10}', SetTraffic(model="m", traffic={"2": 90, "3.0": 10})),
        ("PUT", "labels", b'{"stable": 2, "old": null}', SetLabels(model="m", labels={"stable": "2", "old": None})),
        ("PUT", "labels", b'{"stable": "2.0"}', SetLabels(model="m", labels={"stable": "2.0"})),
        ("POST", "rollback", b"", RollBack(model="m")),
        ("POST", "rollback", b"{}", RollBack(model="m")),
        ("POST", "rollback", b'{"to": 3}', RollBack(model="m", to=3)),
    ],
)
async def test_a_call_on_a_model_is_passed_on(
    port: Port, method: str, call: str, body: bytes, operation: Operation
) -> None:
    status, answer = await port.call(method, f"/api/models/m/{call}", body)
    assert (status, answer["generation"]) == (200, 4)
    assert [(v["version"], v["traffic"]) for v in answer["models"][0]["versions"]] == [("2", 100)]
    assert port.desired.asked == [operation]


@pytest.mark.parametrize(
    ("method", "call", "body", "told"),
    [
        ("PUT", "traffic", b"", 'expected a JSON object with percent by version, as {"2": 90, "3": 10}; got: '),
        ("PUT", "traffic", b'{"2": 101}', "percent by version"),
        ("PUT", "traffic", b'{"2": "90"}', "percent by version"),
        ("PUT", "traffic", b"[90, 10]", "percent by version"),
        ("PUT", "labels", b'{"stable": true}', "versions by label"),
        ("PUT", "labels", b"\xff", "versions by label"),
        ("PUT", "labels", b"[" * 100_000, "versions by label"),
        ("POST", "rollback", b'{"too": 3}', "the record to go to"),
        ("POST", "rollback", b"3", "the record to go to"),
    ],
)
async def test_a_body_that_is_no_such_call_is_told(port: Port, method: str, call: str, body: bytes, told: str) -> None:
    status, answer = await port.call(method, f"/api/models/m/{call}", body)
    assert (status, answer["kind"], port.desired.asked) == (400, "InvalidInput", [])
    assert told in answer["error"]


@pytest.mark.parametrize(
    ("method", "call", "body", "operation"),
    [
        ("PUT", "traffic", b'{"2": 100}', SetTraffic(model="m", traffic={"2": 100})),
        ("PUT", "labels", b'{"stable": 2}', SetLabels(model="m", labels={"stable": "2"})),
        ("POST", "rollback", b"", RollBack(model="m")),
    ],
)
async def test_a_call_on_a_model_is_only_planned_where_that_is_asked(
    port: Port, method: str, call: str, body: bytes, operation: Operation
) -> None:
    status, answer = await port.call(method, f"/api/models/m/{call}?plan=true", body)
    assert (status, answer["applied"], answer["generation"]) == (200, False, 4)
    assert [change["model"] for change in answer["changes"]] == ["digits"]
    assert (port.desired.planned_changes, port.desired.asked) == ([operation], [])


async def test_the_generation_that_a_change_was_planned_from_is_passed_on(port: Port) -> None:
    await port.call("PUT", "/api/models/m/traffic?generation=4", b'{"2": 100}')
    assert port.desired.asked == [SetTraffic(model="m", traffic={"2": 100}, generation=4)]


async def test_versions_in_the_store_are_told_with_how_they_came_about(port: Port) -> None:
    status, answer = await port.call("GET", "/api/models/m/versions")
    assert (status, answer["model"], [each["version"] for each in answer["versions"]]) == (200, "m", [1])
    assert answer["versions"][0]["signatures"]["serving_default"]["inputs"][0]["name"] == "x"
    await port.call("GET", "/api/models/m/versions?version=3&limit=5")
    assert port.desired.listings == [("m", None, 20), ("m", 3, 5)]
    assert (await port.call("GET", "/api/models/m/versions?version=x"))[0] == 400


@pytest.mark.parametrize(
    ("path", "handed"),
    [
        ("/api/models/m/infer", "/v2/models/m/infer"),
        ("/api/models/m/infer?version=2", "/v2/models/m/versions/2/infer"),
        ("/api/models/m/predict", "/predict/m"),
        ("/api/models/m/predict?version=stable", "/predict/m/stable"),
    ],
)
async def test_a_call_of_a_model_is_handed_on_and_answered_as_the_gateway_answers(
    port: Port, path: str, handed: str
) -> None:
    headers = {"content-type": "image/png", "authorization": "Bearer og_a_b", "cookie": "c=1"}
    assert await port.call("POST", path, b"body", **headers) == (201, {"outputs": []})
    kept = {"content-type": "image/png", "authorization": "Bearer og_a_b"}
    assert port.desired.handed == [HandedCall("POST", handed, b"body", kept)]


async def test_a_call_that_reaches_no_gateway_is_told(port: Port) -> None:
    port.desired.refusal = ModelNotReady("no gateway answers; try again")
    assert await port.call("POST", "/api/models/m/predict", b"body") == (
        503,
        {"error": "no gateway answers; try again", "kind": "ModelNotReady"},
    )


async def test_where_no_keys_are_looked_at_everybody_may_everything(port: Port) -> None:
    scopes = ["infer", "view", "manage", "metrics"]
    assert await port.call("GET", "/api/caller") == (200, {"access": False, "name": "", "scopes": scopes})


async def test_history_is_answered_of_all_models_or_one(port: Port) -> None:
    status, answer = await port.call("GET", "/api/history")
    assert (status, answer["served"]) == (200, [])
    assert [(e["number"], e["by"], e["why"]) for e in answer["generations"]] == [(4, "key:ada", "apply")]
    await port.call("GET", "/api/history?model=m&limit=7")
    assert port.desired.histories == [(None, 20), ("m", 7)]
    assert (await port.call("GET", "/api/history?limit=x"))[0] == 400


@pytest.mark.parametrize(
    ("header", "caller"),
    [
        ("user:ada", "user:ada"),
        (None, ""),
        ("key:ada", ""),
        ("user:a b", ""),
        ("user:" + "a" * 65, ""),
        ("user:<script>", ""),
    ],
)
async def test_who_asks_is_believed_as_a_user_s_name_only(port: Port, header: str | None, caller: str) -> None:
    headers = {} if header is None else {"onegate-user": header}
    await port.call("POST", "/api/models/m/rollback", b"", **headers)
    assert port.desired.callers == [caller]


async def test_shutdown_is_passed_on(port: Port) -> None:
    assert await port.call("POST", "/api/shutdown") == (200, {"stopping": True})
    assert port.desired.stopping is True


async def test_a_dialect_answers_below_its_own_segment(port: Port) -> None:
    assert await port.call("POST", "/v2/repository/index") == (
        200,
        [{"name": "m", "version": "1", "state": "READY", "reason": ""}],
    )
    assert port.desired.asked == [ListModels(stored=True)]


async def test_an_error_of_a_dialect_is_told_in_its_own_form(port: Port) -> None:
    port.desired.refusal = Forbidden("source '/etc' is not admitted")
    status, answer = await port.call("POST", "/v2/repository/models/m/load", b"{}")
    assert (status, answer) == (403, {"error": "source '/etc' is not admitted"})
