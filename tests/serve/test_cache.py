"""The response cache: what is the same request, what is kept, what goes, and that nobody can write into it."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from model_store.errors import InvalidInput
from model_store.manifest import PAYLOAD, PAYLOAD_SIGNATURE, Manifest, ParityReport
from serve.cache import ENTRY_BYTES, ResponseCache, digest, request_key
from serve.dispatcher import Dispatcher
from serve.executors.inline import InlineExecutor
from serve.inference import InferenceRequest, Payload, Tensors
from serve.payloads import answers_to_tensors
from serve.routing import ServeOptions, VersionEntry
from tests.serve.tiny_versions import FunctionRuntime, dispatcher_of, double, entry, manifest

FLOATS = np.array([[1, 2]], np.float32)


def text(*values: bytes) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array


# -- keys ------------------------------------------------------------------------------------------------------------


def test_equal_inputs_have_equal_keys_however_they_lie_in_memory() -> None:
    wide = np.array([[1, 9, 2, 9]], np.float32)
    assert digest("a", {"x": FLOATS}) == digest("a", {"x": wide[:, ::2]})
    both = {"x": FLOATS, "y": FLOATS}
    assert digest("a", both) == digest("a", dict(reversed(both.items())))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"x": FLOATS}, {"x": FLOATS + 1}),
        ({"x": FLOATS}, {"y": FLOATS}),
        ({"x": FLOATS}, {"x": FLOATS.reshape(2, 1)}),
        ({"x": FLOATS}, {"x": FLOATS.view(np.int32)}),
        ({"x": FLOATS}, {"x": FLOATS, "y": FLOATS}),
        ({"x": text(b"ab", b"c")}, {"x": text(b"a", b"bc")}),
        ({"x": text(b"")}, {"x": text()}),
        ({"x": np.zeros((0, 2), np.float32)}, {"x": np.zeros((0, 3), np.float32)}),
        ({"x": np.zeros((0, 2), np.float32)}, {"x": np.zeros((0, 2), np.int32)}),
        ({"x": np.array([0.0], np.float32)}, {"x": np.array([-0.0], np.float32)}),
    ],
)
def test_inputs_that_differ_have_keys_that_differ(one: Tensors, other: Tensors) -> None:
    assert digest("a", one) != digest("a", other)


def test_signatures_have_keys_of_their_own() -> None:
    assert digest("a", {"x": FLOATS}) != digest("b", {"x": FLOATS})


async def test_large_inputs_have_the_same_key_from_a_thread() -> None:
    large = {"x": np.arange(1_000_000, dtype=np.float32), "s": text(b"y" * 300_000)}
    assert await request_key("a", large) == digest("a", large)


# -- what is kept ----------------------------------------------------------------------------------------------------


def outputs(size: int, value: int = 0) -> Tensors:
    return {"y": np.full(size, value, np.uint8)}


def test_the_bound_counts_keys_answers_and_what_an_entry_takes() -> None:
    cache = ResponseCache(10_000)
    cache.put(b"k" * 32, outputs(1000))
    assert cache.used_bytes == 1000 + 32 + ENTRY_BYTES
    cache.put(b"t" * 32, {"y": text(b"abc", b"")})
    assert cache.used_bytes == 1000 + 3 + 2 * 41 + 2 * (32 + ENTRY_BYTES)


def test_what_was_not_used_longest_goes_first() -> None:
    cache = ResponseCache(3 * (1000 + 1 + ENTRY_BYTES))
    for key in (b"a", b"b", b"c"):
        cache.put(key, outputs(1000))
    assert cache.get(b"a") is not None
    cache.put(b"d", outputs(1000))
    assert [cache.get(key) is not None for key in (b"a", b"b", b"c", b"d")] == [True, False, True, True]
    assert len(cache) == 3
    assert cache.used_bytes == cache.max_bytes


def test_an_answer_larger_than_the_cache_is_not_kept_and_drops_nothing() -> None:
    cache = ResponseCache(2000)
    cache.put(b"a", outputs(100))
    cache.put(b"b", outputs(2000))
    assert cache.get(b"a") is not None
    assert cache.get(b"b") is None


def test_the_same_key_again_replaces_its_answer() -> None:
    cache = ResponseCache(10_000)
    cache.put(b"a", outputs(100, 1))
    cache.put(b"a", outputs(200, 2))
    assert cache.used_bytes == 200 + 1 + ENTRY_BYTES
    kept = cache.get(b"a")
    assert kept is not None
    assert kept["y"][0] == 2


def test_what_is_kept_is_a_copy_that_nobody_can_write_into() -> None:
    cache = ResponseCache(10_000)
    batch = np.zeros((64, 2), np.float32)
    cache.put(b"a", {"y": batch[3:4]})
    batch[:] = 7
    kept = cache.get(b"a")
    assert kept is not None
    assert kept["y"].tolist() == [[0, 0]]
    assert kept["y"].base is None
    with pytest.raises(ValueError, match="read-only"):
        kept["y"][0, 0] = 1


# -- in front of a version -------------------------------------------------------------------------------------------


def cached(described: VersionEntry, runtime: FunctionRuntime, mib: int = 1) -> Dispatcher:
    serve = msgspec.structs.replace(described.serve, cache_mib=mib)
    return dispatcher_of(
        msgspec.structs.replace(described, serve=serve), executor=InlineExecutor(runtime, on_loop=True)
    )


async def ask(dispatcher: Dispatcher, value: float, **more: Any) -> list[list[float]]:
    inputs = {"x": np.array([[value, 0]], np.float32)}
    response = await dispatcher.infer(InferenceRequest("double", inputs=inputs, **more))
    assert response.outputs is not None
    answer: list[list[float]] = response.outputs["y"].tolist()
    return answer


async def test_inputs_that_come_again_are_answered_without_the_model() -> None:
    runtime = FunctionRuntime()
    dispatcher = cached(entry(), runtime)
    assert [await ask(dispatcher, value) for value in (1, 2, 1, 1)] == [[[2, 0]], [[4, 0]], [[2, 0]], [[2, 0]]]
    assert runtime.batches == [1, 1]
    counted = dispatcher.loaded[("double", 1)].statistics
    assert (counted.success.count, counted.cache_hit.count, counted.cache_miss.count) == (4, 2, 2)
    assert (counted.rows, counted.batches) == (2, 2)


async def test_without_the_setting_every_request_runs() -> None:
    runtime = FunctionRuntime()
    dispatcher = cached(entry(), runtime, mib=0)
    for _ in range(3):
        await ask(dispatcher, 1)
    assert runtime.batches == [1, 1, 1]
    assert dispatcher.loaded[("double", 1)].statistics.cache_miss.count == 0


async def test_another_choice_of_outputs_is_answered_from_what_is_kept() -> None:
    runtime = FunctionRuntime()
    dispatcher = cached(entry(), runtime)
    await ask(dispatcher, 1)
    assert await ask(dispatcher, 1, wanted_outputs=("y",), priority=1, id="b") == [[2, 0]]
    assert runtime.batches == [1]


async def test_every_version_keeps_its_own() -> None:
    runtime = FunctionRuntime()
    dispatcher = cached(entry(version=1), runtime)
    triple = FunctionRuntime(lambda inputs: {"y": inputs["x"] * 3})
    other = cached(entry(version=2), triple)
    dispatcher.router.update(
        msgspec.structs.replace(dispatcher.router.table, number=2, versions=(entry(version=1), entry(version=2)))
    )
    dispatcher.loaded |= other.loaded
    for _ in range(2):
        assert await ask(dispatcher, 1, version="1") == [[2, 0]]
        assert await ask(dispatcher, 1, version="2") == [[3, 0]]
    assert (runtime.batches, triple.batches) == ([1], [1])


async def test_an_error_is_not_kept() -> None:
    calls: list[int] = []

    def refuse_once(inputs: Tensors) -> Tensors:
        calls.append(1)
        if len(calls) == 1:
            raise InvalidInput("not now")
        return double(inputs)

    dispatcher = cached(entry(), FunctionRuntime(refuse_once))
    with pytest.raises(InvalidInput):
        await ask(dispatcher, 1)
    assert await ask(dispatcher, 1) == [[2, 0]]
    assert len(calls) == 2


async def test_a_version_whose_answers_do_not_repeat_is_never_kept() -> None:
    report = ParityReport(True, 0.0, 0.0, 1e-4, (1,), (0,), (), "torch", True, deterministic=False)
    unsteady = msgspec.structs.replace(entry(), manifest=msgspec.structs.replace(manifest(), parity=report))
    runtime = FunctionRuntime()
    dispatcher = cached(unsteady, runtime)
    for _ in range(2):
        await ask(dispatcher, 1)
    assert runtime.batches == [1, 1]


def handler() -> Manifest:
    return msgspec.structs.replace(
        manifest(), runtime="handler", signatures={PAYLOAD: PAYLOAD_SIGNATURE}, default_signature=PAYLOAD
    )


@pytest.mark.parametrize(
    ("described", "status", "runs"),
    [(handler(), 200, 2), (msgspec.structs.replace(handler(), runtime="onnx"), 200, 1)]
    + [(msgspec.structs.replace(handler(), runtime="onnx"), status, 2) for status in (400, 503)],
    ids=["a handler", "a processor", "a refusal", "a failure"],
)
async def test_bodies_are_kept_where_no_handler_made_them_and_they_are_answers(
    described: Manifest, status: int, runs: int
) -> None:
    def answer(inputs: Tensors) -> Tensors:
        return answers_to_tensors([Payload(b"answer", "text/plain", status=status)] * len(inputs["body"]))

    runtime = FunctionRuntime(answer)
    dispatcher = cached(msgspec.structs.replace(entry(), manifest=described), runtime)
    for _ in range(2):
        response = await dispatcher.infer(InferenceRequest("double", payload=Payload(b"q", "text/plain")))
        assert response.payload == Payload(b"answer", "text/plain", status=status)
    assert len(runtime.batches) == runs


async def test_a_new_size_takes_effect_and_another_setting_keeps_what_is_there() -> None:
    runtime = FunctionRuntime()
    dispatcher = cached(entry(), runtime)
    version = dispatcher.loaded[("double", 1)]
    await ask(dispatcher, 1)
    version.configure(ServeOptions("inline", cache_mib=1, deadline_ms=5))
    await ask(dispatcher, 1)
    assert runtime.batches == [1]
    version.configure(ServeOptions("inline", cache_mib=0))
    await ask(dispatcher, 1)
    assert runtime.batches == [1, 1]
