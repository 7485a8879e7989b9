"""Keys through the guard: what counts, from when, until when, and how much of it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from model_store.access_keys import AccessKey, make_key
from model_store.errors import Forbidden, ModelNotReady, RateLimited, Unauthenticated
from serve.access.guard import SMALL_BODY_BYTES, Guard, guard_of
from serve.access.scopes import Need
from serve.caller import CALLER
from serve.config_sections.access import AccessConfig
from serve.inference import Answer, InferenceRequest, Query, ServerDescription, ServerQuery

NOW = datetime(2026, 1, 2, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = NOW.timestamp()

    def __call__(self) -> float:
        return self.now


def guard_with(*keys: AccessKey, clock: Clock | None = None, secret: str | None = None) -> Guard:
    guard = Guard(AccessConfig(anonymous=[]), secret, clock or Clock())
    guard.take_over(keys)
    return guard


def header(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def test_where_everybody_may_ask_everything_there_is_no_guard() -> None:
    assert guard_of(AccessConfig()) is None
    assert guard_of(AccessConfig(anonymous=["infer", "view", "manage"])) is not None


def test_a_key_tells_its_name() -> None:
    key, text = make_key("shop", ["infer"])
    caller = guard_with(key).admit(header(text).get)

    assert (caller.name, caller.grants.scopes) == ("key:shop", ("infer",))


def test_another_secret_under_the_same_id_is_unknown() -> None:
    key, text = make_key("shop", ["infer"])
    guard = guard_with(key)

    for wrong in (text[:-1], f"{text}x", f"og_{key.id}_", f"og_{key.id}_{key.hash}", text.replace("og_", "OG_")):
        with pytest.raises(Unauthenticated) as refused:
            guard.admit(header(wrong).get)
        assert wrong not in refused.value.message


def test_a_key_counts_until_it_expires() -> None:
    clock = Clock()
    key, text = make_key("shop", ["infer"], expires=NOW + timedelta(seconds=10))
    guard = guard_with(key, clock=clock)
    caller = guard.admit(header(text).get)
    clock.now += 10

    with pytest.raises(Unauthenticated, match="has expired, or was revoked"):
        guard.admit(header(text).get)
    with pytest.raises(Unauthenticated, match="has expired, or was revoked"):
        guard.require(caller, Need.INFER, "m")


def test_a_revoked_key_ends_for_calls_under_way_too() -> None:
    key, text = make_key("shop", ["infer"])
    guard = guard_with(key)
    caller = guard.admit(header(text).get)
    guard.require(caller, Need.INFER)
    guard.take_over(())

    with pytest.raises(Unauthenticated, match="is not known here, or was revoked"):
        guard.admit(header(text).get)
    with pytest.raises(Unauthenticated):
        guard.require(caller, Need.INFER)


def test_of_a_rotated_key_both_count_until_the_old_one_ends() -> None:
    clock = Clock()
    old, old_text = make_key("shop", ["infer"], rate_per_s=1)
    guard = guard_with(old, clock=clock)
    former = guard.admit(header(old_text).get)
    new, new_text = make_key("shop", ["infer"], rate_per_s=1)
    guard.take_over([msgspec.structs.replace(old, expires=(NOW + timedelta(hours=1)).isoformat()), new])

    caller = guard.admit(header(new_text).get)
    assert guard.admit(header(old_text).get) is former
    assert caller.limits is former.limits
    clock.now += 3600
    with pytest.raises(Unauthenticated):
        guard.admit(header(old_text).get)
    assert guard.admit(header(new_text).get) is caller


def test_before_it_has_heard_of_keys_a_guard_knows_nobody_and_says_when_to_come_again() -> None:
    _, text = make_key("shop", ["infer"])
    guard = Guard(AccessConfig(anonymous=["view"]))

    with pytest.raises(ModelNotReady) as refused:
        guard.admit(header(text).get)
    assert refused.value.details == {"retry_after_s": 1.0}
    assert guard.admit({}.get) is guard.anonymous


def test_the_cluster_s_secret_may_do_everything_and_an_empty_one_nothing() -> None:
    grants = guard_with(secret="s3cret").admit(header("s3cret").get).grants
    assert [need for need in Need if not grants.allow(need)] == []
    for secret in ("", None):
        with pytest.raises(Unauthenticated):
            guard_with(secret=secret).admit(header("s3cret").get)


def test_who_says_who_they_are_is_told_what_they_lack() -> None:
    key, text = make_key("shop", ["infer:a", "view"])
    guard = guard_with(key)
    caller = guard.admit(header(text).get)

    with pytest.raises(Forbidden, match="the call needs the scope infer:b, and key:shop has infer:a, view"):
        guard.require(caller, Need.INFER, "b")
    with pytest.raises(Unauthenticated, match=r"the call needs a key with the scope manage: expected .* got none"):
        guard.require(guard.anonymous, Need.MANAGE)


def test_a_body_may_be_as_large_as_what_its_caller_may_ask_needs() -> None:
    (infer, infer_text), (view, view_text) = make_key("a", ["infer:m"]), make_key("b", ["view"])
    guard = guard_with(infer, view)
    caller, reader = guard.admit(header(infer_text).get), guard.admit(header(view_text).get)

    assert guard.body_limit(caller, "POST", "1000000", 1 << 26) == 1 << 26
    assert guard.body_limit(reader, "POST", None, 1 << 26) == SMALL_BODY_BYTES
    assert guard.body_limit(guard.anonymous, "GET", None, 1 << 26) == SMALL_BODY_BYTES
    assert guard.body_limit(reader, "POST", "10", 1024) == 1024
    with pytest.raises(Forbidden):
        guard.body_limit(reader, "GET", "1000000", 1 << 26)
    for length in (None, "0", "10"):
        with pytest.raises(Unauthenticated):
            guard.body_limit(guard.anonymous, "POST", length, 1 << 26)


async def test_limits_hold_for_what_is_asked_and_not_for_health() -> None:
    key, text = make_key("shop", ["infer"], rate_per_s=1, concurrency=1)
    guard = guard_with(key)
    caller = guard.admit(header(text).get)
    assert caller.limits is not None
    gate = asyncio.Event()

    async def answer(query: Query) -> Answer:
        if isinstance(query, InferenceRequest):
            await gate.wait()
        return ServerDescription(CALLER.get() == "key:shop")

    running = asyncio.ensure_future(guard.answer(caller, InferenceRequest("m"), answer))
    await asyncio.sleep(0)
    with pytest.raises(RateLimited):
        await guard.answer(caller, InferenceRequest("m"), answer)
    with pytest.raises(RateLimited):
        guard.body_limit(caller, "POST", "10", 100)
    assert guard.admit(header(text).get) is caller
    assert guard.body_limit(caller, "GET", None, 100) == 100
    assert await guard.answer(caller, ServerQuery(), answer) == ServerDescription(True)
    gate.set()
    assert await running == ServerDescription(True)
    assert caller.limits.under_way == 0


async def test_a_call_that_is_cancelled_leaves_its_place() -> None:
    key, text = make_key("shop", ["infer"], concurrency=1)
    guard = guard_with(key)
    caller = guard.admit(header(text).get)
    assert caller.limits is not None

    async def answer(query: Query) -> Answer:
        await asyncio.Event().wait()
        raise AssertionError

    running = asyncio.ensure_future(guard.answer(caller, InferenceRequest("m"), answer))
    await asyncio.sleep(0)
    assert caller.limits.under_way == 1
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert caller.limits.under_way == 0
