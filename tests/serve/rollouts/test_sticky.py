"""The same caller gets the same version: over calls, gateways and listings, and while a canary grows."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_store.errors import ModelNotFound
from serve.dialects.open_inference_http import OpenInferenceHttp
from serve.dialects.open_inference_service import core_service
from serve.dispatcher import Dispatcher
from serve.executors.inline import InlineExecutor
from serve.front_doors.http import HttpFrontDoor
from serve.front_doors.http_listener import HttpListener
from serve.inference import InferenceRequest
from serve.lanes import LoadedVersion
from serve.protocols import open_inference as messages
from serve.rollouts.sticky import Sticky, sticky_version
from serve.router import Router
from serve.routing import ModelRoute, RoutingTable
from tests.serve.front_doors.http_calls import call
from tests.serve.grpc_channels import call as grpc_call
from tests.serve.grpc_channels import channel_to
from tests.serve.tiny_versions import FunctionRuntime, entry

BY_USER = Sticky("x-user")
USERS = [f"user-{number}" for number in range(5_000)]

PINNED = [1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 1]
"""Of which version of two the numbers from 0 to 15 are. Other ones would move every user of every canary."""

Split = tuple[tuple[int, int], ...]


def dispatcher(split: Split, sticky: Sticky | None = None, seen: list[int] | None = None) -> Dispatcher:
    """The model `m`, whose versions multiply by their numbers."""
    entries = tuple(entry("m", version) for version, _ in split)
    router = Router(RoutingTable(1, "./store", entries, {"m": ModelRoute(split, sticky=sticky)}))
    held = Dispatcher(router)
    for each in entries:
        factor = each.key[1]
        runtime = FunctionRuntime(lambda inputs, factor=factor: {"y": inputs["x"] * factor})
        held.loaded[each.key] = LoadedVersion(each, InlineExecutor(runtime, on_loop=True))
    return held


def request(header: dict[str, str] | None = None, **more: Any) -> InferenceRequest:
    inputs = {"x": np.ones((1, 2), np.float32)}
    return InferenceRequest("m", inputs=inputs, header=None if header is None else header.get, **more)


def chosen(split: Split, model: str = "m") -> dict[str, int]:
    return {user: sticky_version(model, user, split) for user in USERS}


def within(count: int, of: int, share: float) -> bool:
    """Whether a count lies within five standard deviations of its binomial mean: outside once in two million."""
    return abs(count - of * share) <= 5 * math.sqrt(of * share * (1 - share))


# -- the choice ------------------------------------------------------------------------------------------------------


def test_users_are_shared_out_by_percent() -> None:
    counts = Counter(chosen(((1, 70), (2, 20), (3, 10))).values())
    assert all(within(counts[version], len(USERS), share) for version, share in ((1, 0.7), (2, 0.2), (3, 0.1)))


def test_the_choice_is_the_same_in_every_process_and_release() -> None:
    split = ((1, 50), (2, 50))
    assert [sticky_version("m", user, split) for user in ("ann", "bob", "eve", "zoë", "\udcff", "")] == [
        1,
        2,
        2,
        2,
        2,
        2,
    ]
    assert [sticky_version("m", str(number), split) for number in range(16)] == PINNED


def test_the_choice_does_not_depend_on_the_order_of_the_versions() -> None:
    assert chosen(((1, 70), (2, 20), (3, 10))) == chosen(((3, 10), (1, 70), (2, 20)))


def test_models_share_their_users_out_differently() -> None:
    split = ((1, 50), (2, 50))
    differing = sum(chosen(split)[user] != chosen(split, "other")[user] for user in USERS[:200])
    assert 60 < differing < 140


def test_a_canary_keeps_its_users_while_it_grows() -> None:
    had: set[str] = set()
    for percent in (1, 5, 10, 25, 50, 75, 99, 100):
        now = {user for user, version in chosen(((1, 100 - percent), (2, percent))).items() if version == 2}
        assert had <= now
        had = now
    assert had == set(USERS)


def test_a_third_version_takes_users_from_the_others_alone() -> None:
    before, after = chosen(((1, 90), (2, 10))), chosen(((1, 81), (2, 9), (3, 10)))
    assert {after[user] for user in USERS if after[user] != before[user]} == {3}


def test_a_version_of_no_percent_gets_nobody() -> None:
    assert set(chosen(((1, 0), (2, 100))).values()) == {2}


# -- through router and dispatcher -----------------------------------------------------------------------------------


async def test_the_same_user_gets_the_same_version_on_every_gateway() -> None:
    split = ((1, 90), (2, 10))
    gateways = [dispatcher(split, BY_USER) for _ in range(2)]
    answers: dict[str, set[str]] = {}
    for _ in range(3):
        for user in USERS[:300]:
            for gateway in gateways:
                answers.setdefault(user, set()).add((await gateway.infer(request({"x-user": user}))).version)
    assert {len(versions) for versions in answers.values()} == {1}
    assert {version for versions in answers.values() for version in versions} == {"1", "2"}


async def test_the_same_request_id_gets_the_same_version() -> None:
    gateway = dispatcher(((1, 50), (2, 50)), Sticky())
    answers = [{(await gateway.infer(request(id=user))).version for _ in range(5)} for user in USERS[:50]]
    assert {len(versions) for versions in answers} == {1}
    assert set.union(*answers) == {"1", "2"}


@pytest.mark.parametrize("nameless", [{}, {"x-user": ""}, None], ids=["no_header", "empty", "no_headers_at_all"])
async def test_who_does_not_say_who_he_is_is_drawn_by_percent(nameless: dict[str, str] | None) -> None:
    gateway = dispatcher(((1, 50), (2, 50)), BY_USER)
    assert {(await gateway.infer(request(nameless))).version for _ in range(100)} == {"1", "2"}


async def test_a_version_that_is_named_is_called_whoever_asks() -> None:
    gateway = dispatcher(((1, 50), (2, 50)), BY_USER)
    assert {(await gateway.infer(request({"x-user": user}, version="2"))).version for user in USERS[:50]} == {"2"}
    with pytest.raises(ModelNotFound, match="no version 3"):
        await gateway.infer(request({"x-user": "ann"}, version="3"))


async def test_headers_are_not_looked_at_without_sticky() -> None:
    def never(name: str) -> str | None:
        raise AssertionError(name)

    for gateway in (dispatcher(((1, 50), (2, 50))), dispatcher(((1, 100),), BY_USER)):
        asked = request()
        asked.header = never
        assert (await gateway.infer(asked)).version in ("1", "2")


async def test_a_canary_of_ten_percent_over_20_000_requests_lies_within_binomial_bounds() -> None:
    gateway = dispatcher(((1, 90), (2, 10)))
    counts: Counter[str] = Counter()
    for _ in range(20_000):
        response = await gateway.infer(request())
        assert response.outputs is not None
        assert response.outputs["y"].tolist() == [[int(response.version)] * 2]
        counts[response.version] += 1
    assert within(counts["2"], 20_000, 0.1)
    assert counts["1"] + counts["2"] == 20_000


# -- through the front doors -----------------------------------------------------------------------------------------


async def test_http_gives_the_header_to_the_choice(free_port: int, tmp_path: Path) -> None:
    split = ((1, 50), (2, 50))
    door = HttpFrontDoor([OpenInferenceHttp()], dispatcher(split, BY_USER).answer, 1_000_000)
    listener = HttpListener(door, "127.0.0.1", free_port)
    listener.start()
    body = b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,1]}]}'
    try:
        for user in USERS[:20]:
            _, _, answer = await call(free_port, "POST", "/v2/models/m/infer", body, X_User=user)
            assert f'"model_version":"{sticky_version("m", user, split)}"' in answer.decode()
    finally:
        await listener.stop()


async def test_grpc_gives_the_metadata_to_the_choice() -> None:
    split = ((1, 50), (2, 50))
    message = messages.ModelInferRequest(model_name="m", raw_input_contents=[np.ones((1, 2), np.float32).tobytes()])
    message.inputs.add(name="x", datatype="FP32", shape=[1, 2])
    method = f"{messages.SERVICE}/ModelInfer"
    async with channel_to([core_service()], dispatcher(split, BY_USER).answer) as (channel, *_):
        for user in USERS[:20]:
            reply = await grpc_call(
                channel, method, message, messages.ModelInferResponse, metadata=[("x-user", user)], timeout=10
            )
            assert reply.model_version == str(sticky_version("m", user, split))
