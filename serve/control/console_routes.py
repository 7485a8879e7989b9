"""Routes of the management port that the console asks beside the commands': who asks, keys, versions in the store, and
calls of models, which are handed on to a gateway."""

from __future__ import annotations

from typing import Any, Protocol

from model_store.manifest import Manifest
from serve.access.callers import Caller
from serve.access.key_calls import NewKey, read_new_key, read_revoked
from serve.control.management_routes import Handler, Query, json_reply, whole_number
from serve.control.stored_versions import LIMIT
from serve.dialects.base import HttpReply, HttpRequest
from serve.handed_calls import HandedCall

HANDED_HEADERS = (
    *("authorization", "x-api-key"),
    *("content-type", "content-encoding", "accept", "inference-header-content-length"),
)
"""They say who calls and what the body is; the others are between the caller and this port."""

_EVERYBODY = {"access": False, "name": "", "scopes": ["infer", "view", "manage", "metrics"]}


class ConsoleAuthority(Protocol):
    """What these routes ask of the controller."""

    async def manifests(self, model: str, version: int | None, limit: int) -> list[Manifest]:
        """The newest versions of a model in the store, or that one."""

    async def keys(self) -> list[dict[str, Any]]:
        """All keys, without what is secret of them."""

    async def create_key(self, caller: Caller | None, asked: NewKey) -> dict[str, Any]:
        """A new key, with its text."""

    async def revoke_key(self, caller: Caller | None, id: str) -> dict[str, Any]:
        """Which keys are none any more."""

    async def hand_on(self, call: HandedCall) -> HttpReply:
        """What a gateway's endpoint answers."""


def console_routes(authority: ConsoleAuthority) -> dict[tuple[str, str], Handler]:
    """Method and route -> what answers it."""

    async def caller(model: str, request: HttpRequest, query: Query) -> Any:
        asks = request.caller
        if asks is None:
            return _EVERYBODY
        return {"access": True, "name": asks.name, "scopes": list(asks.grants.scopes)}

    async def keys(model: str, request: HttpRequest, query: Query) -> Any:
        return {"keys": await authority.keys()}

    async def create_key(model: str, request: HttpRequest, query: Query) -> Any:
        made = await authority.create_key(request.caller, read_new_key(request.body))
        reply = json_reply(200, made)
        # It is told this once, and kept nowhere.
        reply.headers = [*reply.headers, ("cache-control", "no-store")]
        return reply

    async def revoke_key(model: str, request: HttpRequest, query: Query) -> Any:
        return await authority.revoke_key(request.caller, read_revoked(request.body))

    async def versions(model: str, request: HttpRequest, query: Query) -> Any:
        number, limit = whole_number(query, "version"), whole_number(query, "limit")
        found = await authority.manifests(model, number, LIMIT if limit is None else limit)
        return {"model": model, "versions": found}

    async def infer(model: str, request: HttpRequest, query: Query) -> Any:
        version = _version(query)
        path = f"/v2/models/{model}" + (f"/versions/{version}" if version else "") + "/infer"
        return await authority.hand_on(_handed(request, path))

    async def predict(model: str, request: HttpRequest, query: Query) -> Any:
        version = _version(query)
        return await authority.hand_on(_handed(request, f"/predict/{model}" + (f"/{version}" if version else "")))

    return {
        ("GET", "/api/caller"): caller,
        ("GET", "/api/keys"): keys,
        ("POST", "/api/keys"): create_key,
        ("POST", "/api/keys/revoke"): revoke_key,
        ("GET", "/api/models/{model}/versions"): versions,
        ("POST", "/api/models/{model}/infer"): infer,
        ("POST", "/api/models/{model}/predict"): predict,
    }


def _version(query: Query) -> str:
    return query.get("version", [""])[-1]


def _handed(request: HttpRequest, path: str) -> HandedCall:
    told = {name: request.header(name) for name in HANDED_HEADERS}
    return HandedCall(request.method, path, request.body, {name: text for name, text in told.items() if text})
