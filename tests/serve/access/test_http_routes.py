"""Every route of the endpoint and of the management port with no key, a wrong scope, an expired key and a right one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from serve.access.scopes import Need
from serve.openapi.document import endpoint_document, management_document
from tests.serve.access.guarded import REACHED, Ports, Reply, ask, bearer, guarded
from tests.serve.access.routes import ENDPOINT, MANAGEMENT, NAMELESS, RIGHT, WRONG, Route, path_of

ROUTES = {"endpoint": ENDPOINT, "management": MANAGEMENT}


@pytest.mark.parametrize(
    ("port", "document"), [("endpoint", endpoint_document([])), ("management", management_document())]
)
def test_the_table_has_every_route_of_the_port(port: str, document: dict[str, Any]) -> None:
    routes = {(m.upper(), path) for path, item in document["paths"].items() for m in item if m != "parameters"}

    assert ROUTES[port].keys() == routes


async def call(ports: Ports, port: str, route: Route, key: str | None) -> Reply:
    _, body = ROUTES[port][route]
    return await ask(getattr(ports, port), route[0], path_of(route), body, bearer(key) if key else ())


def needing(port: str) -> list[tuple[Route, Need]]:
    return [(route, need) for route, (need, _) in ROUTES[port].items() if need is not Need.NOTHING]


@pytest.mark.parametrize("port", ROUTES)
async def test_without_a_key_a_route_is_401_and_says_in_what_form_one_is_wanted(port: str) -> None:
    async with guarded() as ports:
        replies = {route: await call(ports, port, route, None) for route, _ in needing(port)}

        assert {route: reply.status for route, reply in replies.items()} == dict.fromkeys(replies, 401)
        assert {reply.headers["www-authenticate"] for reply in replies.values()} == {"Bearer"}
        assert ports.nobody.asked == []


@pytest.mark.parametrize("port", ROUTES)
async def test_with_a_wrong_scope_a_route_is_403(port: str) -> None:
    async with guarded() as ports:
        found = {
            route: (await call(ports, port, route, ports.keys.key(*WRONG[need]))).status
            for route, need in needing(port)
        }

        assert found == dict.fromkeys(found, 403)
        assert ports.nobody.asked == []


@pytest.mark.parametrize("port", ROUTES)
async def test_with_an_expired_key_any_route_is_401(port: str) -> None:
    async with guarded() as ports:
        key = ports.keys.key("infer", "view", "manage", "metrics", expired=True)
        found = {route: (await call(ports, port, route, key)).status for route in ROUTES[port]}

        assert found == dict.fromkeys(found, 401)
        assert ports.nobody.asked == []


@pytest.mark.parametrize("port", ROUTES)
async def test_with_a_right_scope_a_route_is_let_in(port: str) -> None:
    async with guarded() as ports:
        for route, need in needing(port):
            for scopes in RIGHT[need]:
                reply = await call(ports, port, route, ports.keys.key(*scopes))
                if route in NAMELESS and scopes not in (("infer",), ("infer:*",)):
                    assert reply.status == 403, (route, scopes)
                else:
                    assert (reply.status, REACHED in reply.said) == (501, True), (route, scopes)


@pytest.mark.parametrize("port", ROUTES)
async def test_what_needs_nothing_is_let_in_without_a_key(port: str) -> None:
    async with guarded() as ports:
        for route, (need, _) in ROUTES[port].items():
            if need is Need.NOTHING:
                reply = await call(ports, port, route, None)
                assert REACHED in reply.said or (route, reply.status) == (("GET", "/api/caller"), 200), route


async def test_callers_without_a_key_have_the_scopes_of_the_config() -> None:
    async with guarded(["infer:double", "metrics"]) as ports:
        mine = await ask(ports.endpoint, "POST", "/predict/double", b"[1, 2]")
        other = await ask(ports.endpoint, "POST", "/predict/other", b"[1, 2]")

        assert (mine.status, other.status) == (501, 401)


async def test_a_caller_is_told_who_they_are_and_what_they_may() -> None:
    async with guarded(["view"]) as ports:
        anonymous = await ask(ports.management, "GET", "/api/caller")
        key = await ask(ports.management, "GET", "/api/caller", headers=bearer(ports.keys.key("infer:m", "metrics")))

        assert json.loads(anonymous.body) == {"access": True, "name": "", "scopes": ["view"]}
        assert json.loads(key.body) == {"access": True, "name": "key:k0", "scopes": ["infer:m", "metrics"]}


async def test_the_cluster_s_secret_opens_the_management_port() -> None:
    async with guarded() as ports:
        reply = await ask(ports.management, "GET", "/api/state", headers=bearer("the-secret-of-the-cluster"))

        assert (reply.status, json.loads(reply.body)["error"]) == (501, REACHED)


async def test_a_page_of_another_origin_is_refused_unless_it_has_a_key() -> None:
    async with guarded(["view"]) as ports:
        foreign = [("origin", "http://evil.example")]
        without = await ask(ports.management, "GET", "/api/state", headers=foreign)
        key = await ask(ports.management, "GET", "/api/state", headers=[*foreign, *bearer(ports.keys.key("view"))])

        assert (without.status, key.status) == (403, 501)
