"""The management port on a real socket: who may ask, and how errors are told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from model_store.errors import ConfigError, Conflict
from serve.control.management import MAX_CONFIG_BYTES
from tests.serve.control.managed import CONFIG, Port, listening


@pytest.fixture
async def port(free_port: int) -> AsyncIterator[Port]:
    async with listening(free_port) as port:
        yield port


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
