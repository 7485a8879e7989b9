"""Lines of the audit log about keys that are made and revoked over the management port, as the console does it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from model_store.store import Store
from serve.access import key_ring
from serve.access.audit import AuditLog
from serve.access.guard import Guard
from serve.access.key_calls import KeyCalls
from serve.access.refused import RefusedCalls
from serve.access.stored_keys import StoredKeys
from serve.config_sections.access import AccessConfig
from serve.control.authority import ControllerAuthority
from serve.control.management import Management
from serve.dialects.base import HttpRequest
from serve.dialects.registry import management_dialects
from serve.front_doors.http import HttpFrontDoor
from tests.serve.access.guarded import MAX_BODY_BYTES, Nobody, bearer, json_body


class Port:
    """The management port over a store, with an audit log; anonymous callers have the scopes `anonymous`."""

    def __init__(self, folder: Path, *anonymous: str) -> None:
        self.file = folder / "audit.jsonl"
        self.audit = AuditLog(str(self.file), lambda: 7)
        self.store = Store.open(str(folder / "store"))
        self.guard = Guard(AccessConfig(anonymous=list(anonymous)))
        self.keys = StoredKeys(self.store, self.guard.take_over)
        unasked: Any = dict.fromkeys(field.name for field in fields(ControllerAuthority))
        calls = KeyCalls(self.store, self.keys.look)
        authority = ControllerAuthority(**unasked | {"audit": self.audit, "key_calls": calls})
        dialects = HttpFrontDoor(management_dialects("torchserve"), Nobody().answer, MAX_BODY_BYTES, guard=self.guard)
        self.management = Management(authority, dialects, self.guard, refused=RefusedCalls(self.audit))

    async def key(self, name: str, *scopes: str) -> str:
        """A key that is made where the store is, which the log does not tell of."""
        _, text = key_ring.create(self.store, name, scopes)
        await self.keys.look()
        return text

    async def ask(self, path: str, body: Mapping[str, Any], key: str | None = None) -> tuple[int, dict[str, Any]]:
        headers = {"host": "localhost"} | dict(() if key is None else bearer(key))
        request = HttpRequest("POST", path, json_body(body), headers.get)
        try:
            self.management.admit(request, 0)
        except Exception as error:
            reply = self.management.refuse(request, error)
        else:
            reply = await self.management.answer(request)
        return reply.status, json.loads(reply.body)

    def lines(self) -> list[tuple[str, str, str]]:
        """Who, what and with which outcome, of what is written, which ends the log."""
        self.audit.close()
        found = [json.loads(line) for line in self.file.read_text().splitlines()] if self.file.exists() else []
        for line in found:
            assert datetime.now(UTC) - datetime.fromisoformat(line["time"]) < timedelta(minutes=1)
            assert (line["models"], line["generation"]) == ([], 7)
        return [(line["caller"], line["what"], line["outcome"]) for line in found]

    def has_told(self, key: str) -> bool:
        """Whether the log holds what is secret of a key."""
        return key.split("_", 2)[2] in self.file.read_text()


@pytest.fixture
def port(tmp_path: Path) -> Iterator[Port]:
    port = Port(tmp_path)
    yield port
    port.audit.close()


async def test_a_key_that_is_made_is_noted_without_its_text(port: Port) -> None:
    ada = await port.key("ada", "manage", "infer")
    status, made = await port.ask("/api/keys", {"name": "shop", "scopes": ["infer:digits"]}, ada)
    assert status == 200
    assert port.lines() == [("key:ada", "CreateKey shop", "done")]
    assert not port.has_told(made["key"])
    assert not port.has_told(ada)


async def test_a_key_that_is_revoked_is_noted_by_its_id(port: Port) -> None:
    ada = await port.key("ada", "manage", "view")
    _, made = await port.ask("/api/keys", {"name": "shop", "scopes": ["view"]}, ada)
    status, gone = await port.ask("/api/keys/revoke", {"id": made["id"]}, ada)
    assert (status, gone) == (200, {"revoked": [made["id"]]})
    assert port.lines()[1:] == [("key:ada", f"RevokeKey {made['id']}", "done")]


@pytest.mark.parametrize("is_known", [True, False])
async def test_of_a_whole_key_that_is_to_be_revoked_the_secret_is_noted_nowhere(port: Port, is_known: bool) -> None:
    ada = await port.key("ada", "manage")
    found = await port.key("shop", "view") if is_known else "og_66b20c0f3d97_secret"
    id = found.split("_")[1]
    status, answer = await port.ask("/api/keys/revoke", {"id": found}, ada)
    assert (status == 200, found.split("_", 2)[2] in str(answer)) == (is_known, False)
    outcome = "done" if is_known else f"ConfigError: the store has no key '{id}'; keys: ada"
    assert port.lines() == [("key:ada", f"RevokeKey {id}", outcome)]
    assert not port.has_told(found)


async def test_a_key_that_may_more_than_its_maker_is_noted_as_refused(port: Port) -> None:
    ada = await port.key("ada", "manage")
    status, _ = await port.ask("/api/keys", {"name": "shop", "scopes": ["infer"]}, ada)
    assert status == 403
    outcome = "Forbidden: key:ada lacks the scope infer itself, and so makes no key that has it"
    assert port.lines() == [("key:ada", "CreateKey shop", outcome)]


async def test_who_may_not_manage_is_noted_as_refused(port: Port) -> None:
    bob = await port.key("bob", "infer")
    asked = [
        ("/api/keys", {"name": "shop", "scopes": ["infer"]}),
        ("/api/keys/revoke", {"id": "66b20c0f3d97"}),
    ]
    assert [(await port.ask(path, body, bob))[0] for path, body in asked] == [403, 403]
    assert [(who, what, outcome.partition(":")[0]) for who, what, outcome in port.lines()] == [
        ("key:bob", "POST /api/keys", "Forbidden"),
        ("key:bob", "POST /api/keys/revoke", "Forbidden"),
    ]
    assert not port.has_told(bob)


async def test_who_has_no_key_or_a_wrong_one_is_noted_without_what_was_sent(port: Port) -> None:
    ada = await port.key("ada", "manage")
    wrong = ada[:-8] + "mistaken"
    asked = {"name": "shop", "scopes": ["manage"]}
    assert [(await port.ask("/api/keys", asked, key))[0] for key in (None, wrong)] == [401, 401]
    assert [(who, what, outcome.partition(":")[0]) for who, what, outcome in port.lines()] == [
        ("", "POST /api/keys", "Unauthenticated"),
        ("", "POST /api/keys", "Unauthenticated"),
    ]
    assert not port.has_told(wrong)


async def test_anonymous_callers_who_may_manage_and_make_no_keys_are_noted(tmp_path: Path) -> None:
    port = Port(tmp_path, "manage", "view")
    assert (await port.ask("/api/keys", {"name": "shop", "scopes": ["view"]}))[0] == 403
    [(who, what, outcome)] = port.lines()
    assert (who, what) == ("", "CreateKey shop")
    assert outcome.startswith("Forbidden: keys are changed here by callers with a key only")
