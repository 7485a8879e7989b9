"""CORS in front of an application: what a browser asks first, and who may read a reply."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from model_store.errors import ConfigError, Forbidden
from serve.config import parse_config
from serve.dialects.base import HttpRequest
from serve.front_doors.cors import Cors, refuse_foreign_page
from serve.front_doors.http_listener import HttpListener
from tests.serve.front_doors.http_calls import call
from tests.serve.front_doors.http_echo import Echo

SHOP = "https://shop.example"
ASKS = {"access_control_request_method": "POST", "access_control_request_headers": "content-type, x-key"}


@asynccontextmanager
async def listening(port: int, origins: Sequence[str], echo: Echo | None = None) -> AsyncIterator[None]:
    listener = HttpListener(Cors(echo or Echo(), origins), "127.0.0.1", port)
    listener.start()
    try:
        yield
    finally:
        await listener.stop()


def told(headers: dict[str, str]) -> dict[str, str]:
    """What a reply says of CORS."""
    return {name: value for name, value in headers.items() if name.startswith("access-control") or name == "vary"}


async def test_a_browser_that_asks_for_a_listed_origin_is_told_what_it_may(free_port: int) -> None:
    echo = Echo()
    async with listening(free_port, [SHOP], echo):
        status, headers, body = await call(free_port, "OPTIONS", "/a", origin=SHOP, **ASKS)
    assert (status, body) == (204, b"")
    assert told(headers) == {
        "access-control-allow-origin": SHOP,
        "access-control-allow-credentials": "true",
        "access-control-allow-methods": "GET, HEAD, POST, PUT, DELETE, OPTIONS",
        "access-control-allow-headers": "content-type, x-key",
        "access-control-max-age": "600",
        "vary": "origin",
    }
    assert echo.asked == []


async def test_another_origin_is_refused(free_port: int) -> None:
    async with listening(free_port, [SHOP]):
        for origin in ("https://shop.example.evil", "http://shop.example", "https://shop.example:8443", "null"):
            status, headers, body = await call(free_port, "OPTIONS", "/a", origin=origin, **ASKS)
            assert status == 403
            assert told(headers) == {"vary": "origin"}
            assert f"gateway.cors_origins does not list the origin '{origin}'".encode() in body


async def test_replies_are_readable_for_listed_origins_only(free_port: int) -> None:
    async with listening(free_port, [SHOP, "http://localhost:3000"]):
        status, headers, _ = await call(free_port, "POST", "/echo", b"a", origin="http://localhost:3000")
        assert status == 200
        assert told(headers) == {
            "access-control-allow-origin": "http://localhost:3000",
            "access-control-allow-credentials": "true",
            "vary": "origin",
        }
        for others in ({"origin": "https://other.example"}, {}):
            status, headers, body = await call(free_port, "POST", "/echo", b"a", **others)
            assert (status, body, told(headers)) == (200, b"a", {"vary": "origin"})


async def test_every_origin_is_told_so_and_gets_no_credentials(free_port: int) -> None:
    async with listening(free_port, ["*"]):
        _, asked, _ = await call(free_port, "OPTIONS", "/a", origin="null", **ASKS)
        _, answered, _ = await call(free_port, "GET", "/a", origin=SHOP)
        _, without, _ = await call(free_port, "GET", "/a")
    assert asked["access-control-allow-origin"] == answered["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in asked | answered
    assert told(without) == {}


async def test_a_refusal_is_readable_and_names_its_headers(free_port: int) -> None:
    async with listening(free_port, [SHOP]):
        status, headers, _ = await call(free_port, "POST", "/busy", b"a", origin=SHOP)
    assert status == 503
    assert headers["access-control-allow-origin"] == SHOP
    assert "content-type" in headers["access-control-expose-headers"].split(", ")


async def test_a_question_is_answered_where_requests_are_refused(free_port: int) -> None:
    """A browser asks without the key that the request itself will bring."""
    async with listening(free_port, [SHOP]):
        status, _, _ = await call(free_port, "OPTIONS", "/busy", origin=SHOP, **ASKS)
    assert status == 204


async def test_other_uses_of_options_are_the_application_s(free_port: int) -> None:
    echo = Echo()
    async with listening(free_port, [SHOP], echo):
        await call(free_port, "OPTIONS", "/a", origin=SHOP)
        await call(free_port, "OPTIONS", "/a", access_control_request_method="POST")
    assert [request.method for request in echo.asked] == ["OPTIONS", "OPTIONS"]


async def test_names_of_headers_that_are_none_are_not_repeated(free_port: int) -> None:
    async with listening(free_port, [SHOP]):
        asks: dict[str, Any] = ASKS | {"access_control_request_headers": "x-a(b)"}
        status, headers, _ = await call(free_port, "OPTIONS", "/a", origin=SHOP, **asks)
    assert status == 204
    assert "access-control-allow-headers" not in headers


@pytest.mark.parametrize(
    "origin", ["shop.example", "https://shop.example/", "https://shop.example/a", "https://*.example", "null", ""]
)
async def test_the_config_takes_whole_origins_only(origin: str) -> None:
    with pytest.raises(ConfigError, match="expected an origin as browsers name it"):
        parse_config(f'{{"gateway": {{"cors_origins": ["{origin}"]}}, "models": []}}', "c", Path("/"))


async def test_every_origin_and_others_contradict_each_other() -> None:
    with pytest.raises(ConfigError, match="others beside it mean nothing"):
        parse_config(f'{{"gateway": {{"cors_origins": ["*", "{SHOP}"]}}, "models": []}}', "c", Path("/"))


@pytest.mark.parametrize(
    ("origin", "origins", "may"),
    [
        (None, [], True),
        ("http://gateway:8080", [], True),
        ("https://shop.example", ["https://shop.example"], True),
        ("https://shop.example", [], False),
        # Everybody's page may read, and manages nothing.
        ("https://shop.example", ["*"], False),
        ("http://[", [], False),
    ],
)
def test_who_manages_models_without_a_key_is_listed_or_of_the_same_host(
    origin: str | None, origins: list[str], may: bool
) -> None:
    headers = {"host": "gateway:8080"} | ({} if origin is None else {"origin": origin})
    request = HttpRequest("POST", "/v2/repository/models/m/unload", b"", headers.get)
    if may:
        refuse_foreign_page(request, origins)
    else:
        with pytest.raises(Forbidden, match="does not list the origin"):
            refuse_foreign_page(request, origins)
