"""The table of behaviours, run against every dialect on real sockets."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.serve.behaviours.attempts import Attempt, HttpClient, Reply
from tests.serve.behaviours.clients import CLIENTS
from tests.serve.behaviours.endpoint import SECRET, Endpoint, endpoint
from tests.serve.behaviours.table import TABLE, Told
from tests.serve.left_over import left_to_the_collector

pytestmark = pytest.mark.asyncio(loop_scope="module")

ERROR_ID = re.compile(r"(?<=internal error )[0-9a-f-]{12,36}(?=;)")
REFUSED_BY_GRPC = ("too large", "no such path")
"""What gRPC itself refuses, before there is a request: with a status alone, as every gRPC server does."""
CASES = [
    pytest.param(client, row.attempt, told, id=f"{behaviour}-{client}")
    for behaviour, row in TABLE.items()
    for client, told in row.told.items()
    if isinstance(told, Told)
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def opened() -> AsyncIterator[Endpoint]:
    async with endpoint() as opened:
        yield opened


@pytest.mark.parametrize(("client", "attempt", "told"), CASES)
async def test_a_client_is_told_what_the_table_says(
    opened: Endpoint, client: str, attempt: Attempt, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    reply = await CLIENTS[client].attempt(opened, attempt)
    ids = ERROR_ID.findall(str(reply.body))
    assert (reply.status, without_id(reply)) == (told.status, told.body)
    assert reply.headers.get("retry-after") == told.again
    assert headers_wanted(client, reply.status).items() <= dict(reply.headers).items()
    # Who reads the log finds the client's id there, and what the client may not see.
    assert (SECRET in caplog.text) == bool(ids)
    assert all(f"internal error {id}" in caplog.text for id in ids)


async def test_a_refusal_names_the_same_kind_to_every_client(opened: Endpoint) -> None:
    named = {
        behaviour: {
            (await CLIENTS[client].attempt(opened, row.attempt)).headers.get("onegate-error")
            for client, told in row.told.items()
            if isinstance(told, Told) and (behaviour not in REFUSED_BY_GRPC or isinstance(CLIENTS[client], HttpClient))
        }
        for behaviour, row in TABLE.items()
    }
    assert named == {
        "answer": {None},
        "unknown model": {"ModelNotFound"},
        "unknown version": {"ModelNotFound"},
        "wrong input name": {"InvalidInput"},
        "wrong shape": {"InvalidInput"},
        "wrong datatype": {"InvalidInput"},
        "unreadable body": {"InvalidInput"},
        "too large": {"PayloadTooLarge"},
        "overloaded": {"Overloaded"},
        "deadline passed": {"DeadlineExceeded"},
        "not ready": {"ModelNotReady"},
        "internal error": {"InternalError"},
        "unauthorised": {"Forbidden"},
        "wrong method": {"NoSuchRoute"},
        "no such path": {"NoSuchRoute"},
    }


@pytest.mark.parametrize(("client", "attempt"), [pytest.param(*case.values[:2], id=case.id) for case in CASES])
async def test_a_call_leaves_nothing_to_the_collector(opened: Endpoint, client: str, attempt: Attempt) -> None:
    with left_to_the_collector() as left:
        await CLIENTS[client].attempt(opened, attempt)
    assert left == {}


def without_id(reply: Reply) -> Any:
    if isinstance(reply.body, str):
        return ERROR_ID.sub("<id>", reply.body)
    if isinstance(reply.body, dict):
        return {key: ERROR_ID.sub("<id>", text) if isinstance(text, str) else text for key, text in reply.body.items()}
    return reply.body


def headers_wanted(name: str, status: int | str) -> dict[str, str]:
    client = CLIENTS[name]
    if not isinstance(client, HttpClient):
        return {}
    return {**client.always, **(client.refused if status != 200 else {})}


async def test_every_dialect_has_a_line_in_every_row() -> None:
    for behaviour, row in TABLE.items():
        assert list(row.told) == list(CLIENTS), behaviour
