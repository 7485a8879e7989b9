"""The management port on a real socket: who may ask, what is answered, and how errors are told."""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import urllib.request
from collections.abc import AsyncIterator
from typing import Any

import pytest

from model_store.errors import ConfigError, Conflict, Forbidden, ModelNotFound, ModelNotReady
from model_store.manifest import Manifest
from serve.access.callers import Caller
from serve.access.key_calls import NewKey
from serve.caller import CALLER
from serve.config import Config
from serve.control.desired import Change
from serve.control.history import Entry, History
from serve.control.management import MAX_CONFIG_BYTES, Management
from serve.control.process_logs import MAX_TOLD, WantedLines
from serve.dialects.base import HttpReply
from serve.dialects.open_inference_http import OpenInferenceHttp
from serve.front_doors.http import HttpFrontDoor
from serve.front_doors.http_listener import HttpListener
from serve.handed_calls import HandedCall
from serve.inference import Answer, Query
from serve.operations import (
    ListModels,
    ModelList,
    ModelStatus,
    Operation,
    RollBack,
    SetLabels,
    SetTraffic,
    VersionStatus,
)
from tests.serve.tiny_versions import manifest
from tests.serve.waiting import eventually

CHANGES = [Change("digits", "add", ("/exports/digits.onnx: will be converted to a new version",))]
CONFIG = b'{"store": "/store", "models": [{"name": "digits", "source": "/exports/digits.onnx"}]}'


class Desired:
    """Stands for the controller: notes what it is asked."""

    def __init__(self) -> None:
        self.generation = 4
        self.planned: list[Config] = []
        self.applied: list[Config] = []
        self.made_from: int | None = None
        self.asked: list[Query] = []
        self.callers: list[str] = []
        self.histories: list[tuple[str | None, int]] = []
        self.planned_changes: list[Operation] = []
        self.listings: list[tuple[str, int | None, int]] = []
        self.handed: list[HandedCall] = []
        self.wanted_lines: list[WantedLines] = []
        self.stopping = False
        self.refusal: Exception | None = None

    def state(self) -> dict[str, Any]:
        return {"generation": self.generation, "models": []}

    def comparison(self, model: str) -> dict[str, Any]:
        if model != "digits":
            raise ModelNotFound(f"model {model!r} is not served here")
        return {"model": model, "versions": [], "comparisons": []}

    async def metrics(self) -> bytes:
        self._refuse()
        return b"onegate_gateways 1\n"

    async def plan(self, config: Config) -> list[Change]:
        self._refuse()
        self.planned.append(config)
        return CHANGES

    async def apply(self, config: Config, generation: int | None = None) -> list[Change]:
        self._refuse()
        self.made_from = generation
        self.applied.append(config)
        self.generation += 1
        return CHANGES

    async def change(self, operation: Operation) -> ModelList:
        self._refuse()
        self.callers.append(CALLER.get())
        self.asked.append(operation)
        return ModelList((ModelStatus("m", (VersionStatus(version="2", state="READY", traffic=100),)),))

    async def plan_change(self, operation: Operation) -> list[Change]:
        self._refuse()
        self.planned_changes.append(operation)
        return CHANGES

    async def manifests(self, model: str, version: int | None, limit: int) -> list[Manifest]:
        self.listings.append((model, version, limit))
        return [manifest(model, version or 1)]

    async def keys(self) -> list[dict[str, Any]]:
        return [{"name": "shop"}]

    async def create_key(self, caller: Caller | None, asked: NewKey) -> dict[str, Any]:
        return {"name": asked.name, "key": "og_a_b"}

    async def revoke_key(self, caller: Caller | None, id: str) -> dict[str, Any]:
        return {"revoked": [id]}

    async def hand_on(self, call: HandedCall) -> HttpReply:
        self._refuse()
        self.handed.append(call)
        return HttpReply(201, b'{"outputs": []}', [("content-type", "application/json")])

    async def history(self, model: str | None, limit: int) -> History:
        self.histories.append((model, limit))
        return History((Entry(4, "2026-01-02T03:04:05+00:00", "key:ada", "apply", ()),))

    async def logs(self, wanted: WantedLines) -> dict[str, Any]:
        self.wanted_lines.append(wanted)
        return {"lines": [], "next": 7, "epoch": 1}

    def request_shutdown(self) -> None:
        self.stopping = True

    async def answer(self, query: Query) -> Answer:
        """What dialects ask."""
        self.asked.append(query)
        self._refuse()
        return ModelList((ModelStatus("m", (VersionStatus(version="1", state="READY"),)),))

    def _refuse(self) -> None:
        if self.refusal is not None:
            raise self.refusal


class Port:
    """The management port of a controller."""

    def __init__(self, desired: Desired, number: int) -> None:
        self.desired = desired
        self.number = number

    async def call(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any]:
        """Status and answer; `headers` replace those that Python's client sends."""

        def blocking() -> tuple[int, Any]:
            connection = http.client.HTTPConnection("127.0.0.1", self.number, timeout=10)
            try:
                connection.request(method, path, body, headers)
                reply = connection.getresponse()
                assert reply.getheader("content-type") == "application/json"
                return reply.status, json.loads(reply.read())
            finally:
                connection.close()

        return await asyncio.to_thread(blocking)


@pytest.fixture
async def port(free_port: int) -> AsyncIterator[Port]:
    desired = Desired()
    door = HttpFrontDoor([OpenInferenceHttp()], desired.answer, MAX_CONFIG_BYTES)
    listener = HttpListener(Management(desired, door), "127.0.0.1", free_port)
    listener.start()
    await eventually(lambda: answers(free_port))
    yield Port(desired, free_port)
    await listener.stop()


def answers(number: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", number, timeout=1)
    try:
        connection.connect()
    except OSError:
        return False
    connection.close()
    return True


# -- what is answered ------------------------------------------------------------------------------------------------


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


# -- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/api",
        "/api/state/",
        "/api/nothing",
        "/nothing",
        "/apiary",
        "/api/models/m/nothing",
        "/api/models//rollback",
    ],
)
async def test_an_unknown_path_is_not_found(port: Port, path: str) -> None:
    assert await port.call("GET", path) == (404, {"error": "Not Found"})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/state"),
        ("GET", "/api/config"),
        ("POST", "/api/config"),
        ("GET", "/api/shutdown"),
        ("GET", "/api/models/m/rollback"),
    ],
)
async def test_a_wrong_method_is_told(port: Port, method: str, path: str) -> None:
    assert await port.call(method, path) == (405, {"error": "Method Not Allowed"})
    assert (port.desired.stopping, port.desired.applied) == (False, [])


async def test_mistakes_of_a_config_are_told_with_their_kind(port: Port) -> None:
    text = b"models:\n- name: digits\n  source: a.onnx\n  serve: {cpus: 0, colour: red}\n"
    status, answer = await port.call("PUT", "/api/config", text)
    assert (status, answer["kind"]) == (400, "ConfigError")
    assert "the config sent" in answer["error"]
    assert "models[0].serve.cpus" in answer["error"]
    assert "models[0].serve.colour" in answer["error"]
    assert port.desired.applied == []


async def test_a_config_that_is_no_text_is_told(port: Port) -> None:
    status, answer = await port.call("PUT", "/api/config", b"\xff\xfe")
    assert (status, answer) == (
        400,
        {"error": "the config is not UTF-8 text: invalid start byte", "kind": "ConfigError"},
    )


async def test_a_config_over_the_limit_is_refused(port: Port) -> None:
    status, answer = await port.call("PUT", "/api/config", **{"content-length": str(MAX_CONFIG_BYTES + 1)})
    assert (status, answer["kind"]) == (413, "PayloadTooLarge")


@pytest.mark.parametrize(
    ("refusal", "status"),
    [(ConfigError("store: restart `onegate up` to change it"), 400), (Conflict("generation 5 exists already"), 409)],
)
@pytest.mark.parametrize("path", ["/api/config", "/api/config?plan=true"])
async def test_what_the_controller_refuses_is_told(port: Port, path: str, refusal: Exception, status: int) -> None:
    port.desired.refusal = refusal
    assert await port.call("PUT", path, CONFIG) == (
        status,
        {"error": str(refusal), "kind": type(refusal).__name__},
    )


async def test_a_client_that_leaves_in_the_middle_of_a_config_is_no_defect(
    port: Port, caplog: pytest.LogCaptureFixture
) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port.number)
    writer.write(b"PUT /api/config HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nmodels:")
    await writer.drain()
    await asyncio.sleep(0.1)
    writer.close()
    assert (await port.call("GET", "/api/state"))[0] == 200
    assert caplog.text == ""
    assert port.desired.applied == []


async def test_a_defect_is_told_by_its_id_only(port: Port, caplog: pytest.LogCaptureFixture) -> None:
    port.desired.refusal = FileNotFoundError(2, "No such file or directory", "/var/secret/store")
    status, answer = await port.call("PUT", "/api/config", CONFIG)
    assert (status, answer["kind"]) == (500, "InternalError")
    assert "secret" not in answer["error"]
    assert "/var/secret/store" in caplog.text


# -- who may ask -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "LocalHost", "127.0.0.1", "[::1]:{port}"])
async def test_local_programs_are_answered(port: Port, host: str) -> None:
    status, _ = await port.call("GET", "/api/state", host=host.format(port=port.number))
    assert status == 200


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
async def test_a_page_of_the_port_itself_is_answered(port: Port, name: str) -> None:
    host = f"{name}:{port.number}"
    status, _ = await port.call("POST", "/api/shutdown", host=host, origin=f"http://{host}")
    assert (status, port.desired.stopping) == (200, True)


@pytest.mark.parametrize(
    "host",
    [
        "attacker.example",
        "attacker.example:{port}",
        "localhost.attacker.example",
        "10.0.0.1:{port}",
        "0.0.0.0",
        "",
        "[",
    ],
)
async def test_a_foreign_host_is_refused(port: Port, host: str, caplog: pytest.LogCaptureFixture) -> None:
    # A name of the attacker that was pointed at this machine.
    status, answer = await port.call("POST", "/api/shutdown", host=host.format(port=port.number))
    assert (status, answer["kind"]) == (403, "Forbidden")
    assert answer["error"].startswith("management answers local programs only, got Host ")
    assert port.desired.stopping is False
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize(
    "origin",
    [
        "https://attacker.example",
        "http://127.0.0.1:1",
        "http://localhost:{port}",
        "http://127.0.0.1",
        "null",
        "http://[",
    ],
)
@pytest.mark.parametrize(("method", "path"), [("POST", "/api/shutdown"), ("PUT", "/api/config"), ("GET", "/nothing")])
async def test_a_page_of_another_origin_is_refused(port: Port, origin: str, method: str, path: str) -> None:
    origin = origin.format(port=port.number)
    status, answer = await port.call(method, path, CONFIG, host=f"127.0.0.1:{port.number}", origin=origin)
    assert (status, answer["kind"]) == (403, "Forbidden")
    assert (port.desired.stopping, port.desired.applied) == (False, [])


async def test_dialects_are_for_local_programs_too(port: Port) -> None:
    status, answer = await port.call("POST", "/v2/repository/index", host="attacker.example")
    assert (status, answer["kind"], port.desired.asked) == (403, "Forbidden", [])
