"""What a client asks of a running endpoint, and gets: over HTTP and gRPC, with an event loop and without."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
from multiprocessing.connection import Connection
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from model_store.errors import (
    ConfigError,
    DeadlineExceeded,
    InvalidInput,
    ModelNotFound,
    ModelNotReady,
    OnegateError,
    Overloaded,
    PayloadTooLarge,
    Unsupported,
)
from model_store.manifest import TensorSpec
from serve.client import AsyncClient, Body, Client, Model, Retries
from serve.client.http_connections import HttpConnections
from serve.executors.inline import InlineExecutor
from serve.inference import Tensors
from serve.routing import Batching
from tests.serve.client.callers import OVER_HTTP, WAYS, Caller, caller_of
from tests.serve.client.conftest import Endpoint
from tests.serve.pictures import RED, photograph
from tests.serve.tiny_versions import FunctionRuntime, GatedExecutor, double, entry
from tests.serve.waiting import eventually

ROWS = np.array([[1, 2], [3, 4.5]], np.float32)


def inline(function: Any) -> InlineExecutor:
    return InlineExecutor(FunctionRuntime(function), on_loop=True)


# -- inference -------------------------------------------------------------------------------------------------------


async def test_one_array_is_the_model_s_only_input(caller: Caller) -> None:
    outputs = await caller.infer("double", ROWS)
    assert list(outputs) == ["y"]
    assert outputs["y"].tolist() == [[2, 4], [6, 9]]
    assert (outputs.array is outputs["y"], outputs.model, outputs.version) == (True, "double", "1.0")


async def test_arrays_by_name_are_the_inputs(caller: Caller) -> None:
    outputs = await caller.infer("people", {"age": [[3], [4]], "city": [["Rome"], ["Zürich"]], "income": ROWS[:, :1]})
    assert outputs["sum"].tolist() == [[4], [7]]
    assert outputs["text"].tolist() == [[b"Rome"], ["Zürich".encode()]]
    with pytest.raises(InvalidInput, match=r"^model 'people' answered with the outputs sum, text; take one by its "):
        _ = outputs.array


async def test_an_array_without_a_name_for_several_inputs_is_refused_with_their_names(caller: Caller) -> None:
    with pytest.raises(InvalidInput, match=r"^model 'people' takes the inputs age, city, income; give arrays by these"):
        await caller.infer("people", ROWS)


async def test_the_outputs_that_are_asked_for_come_in_that_order(caller: Caller) -> None:
    inputs = {"age": [[3]], "city": [["Rome"]], "income": ROWS[:1, :1]}
    assert list(await caller.infer("people", inputs, outputs=["text"])) == ["text"]
    assert list(await caller.infer("people", inputs, outputs=["text", "sum"])) == ["text", "sum"]


async def test_an_answer_is_the_caller_s_own_to_write_to(caller: Caller) -> None:
    output = (await caller.infer("double", ROWS)).array
    assert output.flags.writeable
    assert output.flags.aligned
    output[0, 0] = 7
    assert (await caller.infer("double", ROWS)).array[0, 0] == 2


async def test_a_large_tensor_comes_back_whole(caller: Caller) -> None:
    many = np.arange(400_000, dtype=np.float32).reshape(-1, 2)
    output = (await caller.infer("double", {"x": many})).array
    assert np.array_equal(output, many * 2)
    assert output.flags.aligned


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (np.array([[1, 2]], ">f4"), [[2, 4]]),
        (np.ones((2, 2), np.float32).T[:, ::-1], [[2, 2], [2, 2]]),
        (np.zeros((0, 2), np.float32), []),
    ],
    ids=["another byte order", "strided", "no rows"],
)
async def test_an_array_is_sent_however_it_lies_in_memory(caller: Caller, given: np.ndarray, sent: Any) -> None:
    assert (await caller.infer("double", given)).array.tolist() == sent


async def test_every_datatype_comes_back_as_it_went(caller: Caller, endpoint: Endpoint) -> None:
    values = {
        "BOOL": np.array([[True, False]]),
        "UINT8": np.array([[1, 255]], np.uint8),
        "INT64": np.array([[-(2**62), 3]]),
        "FP16": np.array([[0.5, np.inf]], np.float16),
        "BF16": np.array([[0.5, 3]], ml_dtypes.bfloat16),
        "FP64": np.array([[np.nan, 1e300]]),
        "BYTES": np.array([[b"a\0", b""]], object),
    }
    specs = tuple(TensorSpec(name, name, (-1, 2)) for name in values)

    def same(inputs: Tensors) -> Tensors:
        return dict(inputs)

    endpoint.add(entry("same", inputs=specs, outputs=specs), inline(same))
    outputs = await caller.infer("same", values)
    assert {name: output.dtype for name, output in outputs.items()} == {name: v.dtype for name, v in values.items()}
    for name, output in outputs.items():
        assert output.tobytes() == values[name].tobytes() if name != "BYTES" else output.tolist() == [[b"a\0", b""]]


async def test_a_call_says_all_that_its_caller_wants(caller: Caller, endpoint: Endpoint) -> None:
    outputs = await caller.infer(
        "double",
        {"x": ROWS},
        label="stable",
        signature="serving_default",
        request_id="r-1",
        priority=2,
        parameters={"seed": 7, "greedy": True},
        deadline_s=5,
    )
    assert (outputs.request_id, outputs.version) == ("r-1", "1.0")
    asked = endpoint.asked[-1]
    assert (asked.model, asked.version, asked.label, asked.signature) == ("double", None, "stable", "serving_default")
    assert (asked.id, asked.priority, asked.parameters) == ("r-1", 2, {"seed": 7, "greedy": True})
    left_s = asked.deadline - asyncio.get_running_loop().time()
    # uvloop's clock may be some milliseconds behind.
    assert 0 < left_s < 6
    assert (await caller.infer("double", ROWS, version="1.0")).version == "1.0"
    assert (endpoint.asked[-1].version, endpoint.asked[-1].label) == ("1.0", None)


async def test_what_a_model_is_told_of_version_and_label_is_refused_where_both_are_named(caller: Caller) -> None:
    with pytest.raises(InvalidInput, match=r"^a call names a version or a label, got version '1' and label 'stable'"):
        await caller.infer("double", ROWS, version="1", label="stable")


async def test_an_input_whose_name_has_changed_is_found_again(caller: Caller, endpoint: Endpoint) -> None:
    assert (await caller.infer("double", ROWS)).array.tolist() == [[2, 4], [6, 9]]

    def half(inputs: Tensors) -> Tensors:
        return {"y": inputs["z"] / 2}

    endpoint.add(entry("double", 2, inputs=(TensorSpec("z", "FP32", (-1, 2)),)), inline(half))
    assert (await caller.infer("double", ROWS)).array.tolist() == [[0.5, 1], [1.5, 2.25]]
    with pytest.raises(InvalidInput, match=r"^input 'z': expected FP32\[\*,2\], got FP64\[2,2\]"):
        await caller.infer("double", ROWS.astype(np.float64))


async def test_a_model_s_metadata_are_told(caller: Caller, way: str) -> None:
    told = await caller.model("double", label="stable")
    x, y = TensorSpec("x", "FP32", (-1, 2)), TensorSpec("y", "FP32", (-1, 2))
    assert told == Model("double", (x,), (y,), ("1.0",), "onnx_onnxv1")
    signatures = (await caller.model("colours")).signatures
    assert set(signatures) == ({"serving_default", "payload"} if way in OVER_HTTP else set())


async def test_readiness_is_told_of_models_and_of_all(caller: Caller) -> None:
    told = [await caller.ready(name) for name in ("double", "broken", "nobody")]
    assert (told, await caller.ready()) == ([True, False, False], False)


# -- raw bodies ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", OVER_HTTP)
async def test_a_raw_body_goes_to_a_processor_or_handler(caller: Caller) -> None:
    picture = await caller.predict("colours", photograph(RED).body, content_type="image/jpeg", version="1.0")
    assert picture.content_type == "application/json"
    assert picture.json()[0]["class"] == "red"
    assert await caller.predict("echo", b"hello", content_type="text/plain") == Body(b"hello", "text/plain")
    table = await caller.predict("double", b"[[1, 2]]", content_type="application/json", label="stable")
    assert table.json()["outputs"] == {"y": [[2, 4]]}
    with pytest.raises(InvalidInput, match="expected a picture"):
        await caller.predict("colours", b"hello", content_type="image/jpeg")


@pytest.mark.parametrize("way", WAYS[2:])
async def test_a_raw_body_over_grpc_is_refused_with_what_to_do(caller: Caller) -> None:
    with pytest.raises(Unsupported, match=r"^raw bodies travel over HTTP only; use an address that begins with http$"):
        await caller.predict("echo", b"hello")


# -- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (("nobody", {"x": ROWS}), ModelNotFound, "model 'nobody' is not served here"),
        (("nobody", ROWS), ModelNotFound, "model 'nobody' is not served here"),
        (("double", {"z": ROWS}), InvalidInput, "model 'double' takes the inputs 'x': FP32[*,2]; got 'z'"),
        (("double", {"x": [["a", b"b"]]}), InvalidInput, "input 'x': expected FP32[*,2], got BYTES[1,2]"),
        (("double", {"x": [1j]}), InvalidInput, "input 'x': an array of complex128 can't be sent; cast it"),
    ],
)
async def test_errors_are_those_of_the_endpoint(
    caller: Caller, call: tuple[Any, ...], kind: type[OnegateError], text: str
) -> None:
    with pytest.raises(OnegateError) as refused:
        await caller.infer(*call)
    assert (type(refused.value), refused.value.message) == (kind, text)


async def test_an_unknown_label_is_not_found(caller: Caller) -> None:
    with pytest.raises(ModelNotFound, match=r"^model 'double' has no label 'canary'; labels: stable$"):
        await caller.infer("double", {"x": ROWS}, label="canary")


async def test_what_is_larger_than_the_endpoint_takes_is_too_large(caller: Caller) -> None:
    with pytest.raises(PayloadTooLarge):
        await caller.infer("double", {"x": np.ones((1_000_000, 2), np.float32)})
    assert (await caller.infer("double", ROWS)).array.tolist() == [[2, 4], [6, 9]]


async def test_a_deadline_ends_the_call_here_and_there(caller: Caller, endpoint: Endpoint) -> None:
    endpoint.add(entry("slow"), GatedExecutor(slots=0))
    queue = endpoint.dispatcher.loaded["slow", 1].lane(None).queue
    with pytest.raises(DeadlineExceeded):
        await caller.infer("slow", {"x": ROWS}, deadline_s=0.3)
    await eventually(lambda: queue.waiting_rows == 0)


async def test_overload_says_when_to_come_again_and_is_tried_again(endpoint: Endpoint, way: str) -> None:
    gated = GatedExecutor(slots=0)
    endpoint.add(entry("busy", batching=Batching(max_queue=1)), gated)
    async with caller_of(way, endpoint.url(way), retries=Retries(tries=1)) as caller:
        waiting = asyncio.ensure_future(caller.infer("busy", {"x": ROWS[:1]}, deadline_s=2))
        queue = endpoint.dispatcher.loaded["busy", 1].lane(None).queue
        await eventually(lambda: queue.waiting_rows == 1)
        with pytest.raises(Overloaded) as refused:
            await caller.infer("busy", {"x": ROWS[:1]})
        assert refused.value.details == {"retry_after_s": 1.0}
        async with caller_of(way, endpoint.url(way)) as patient:
            second = asyncio.ensure_future(patient.infer("busy", {"x": ROWS[:1]}))
            await asyncio.sleep(0.2)
            assert not second.done()
            endpoint.add(entry("busy"), inline(double))
            assert (await second).array.tolist() == [[2, 4]]
        with pytest.raises(DeadlineExceeded):
            await waiting


@pytest.mark.parametrize("way", ["http async", "grpc async"])
async def test_a_call_that_is_cancelled_is_taken_back_at_the_endpoint(caller: Caller, endpoint: Endpoint) -> None:
    endpoint.add(entry("slow"), GatedExecutor(slots=0))
    queue = endpoint.dispatcher.loaded["slow", 1].lane(None).queue
    call = asyncio.ensure_future(caller.infer("slow", {"x": ROWS}))
    await eventually(lambda: queue.waiting_rows == 2)
    call.cancel()
    await eventually(lambda: queue.waiting_rows == 0)
    assert (await caller.infer("double", ROWS)).array.tolist() == [[2, 4], [6, 9]]


# -- many at once ----------------------------------------------------------------------------------------------------


async def test_many_calls_at_once_get_each_its_own_answer(caller: Caller) -> None:
    async def one(number: int) -> bool:
        outputs = await caller.infer("double", {"x": np.full((1, 2), number, np.float32)})
        return bool(np.array_equal(outputs.array, np.full((1, 2), 2 * number, np.float32)))

    assert all(await asyncio.gather(*map(one, range(200))))


@pytest.mark.parametrize("way", ["http sync"])
async def test_threads_share_connections_and_leave_them_for_the_next(caller: Caller) -> None:
    client = caller.client
    assert isinstance(client, Client)

    def ask(number: int, told: list[float]) -> None:
        for _ in range(20):
            told.append(float(client.infer("double", {"x": np.full((1, 2), number, np.float32)}).array[0, 0]))

    answers: list[list[float]] = [[] for _ in range(8)]
    threads = [threading.Thread(target=ask, args=(number, told)) for number, told in enumerate(answers)]
    for thread in threads:
        thread.start()
    await asyncio.to_thread(lambda: [thread.join() for thread in threads])
    assert answers == [[2.0 * number] * 20 for number in range(8)]
    idle = client._transport._idle
    assert 1 <= len(idle) <= 8


def _ask_in_child(client: Client, told: Connection) -> None:
    told.send((os.getpid(), client.infer("double", {"x": 3 * ROWS}).array.tolist()))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("way", ["http sync", "grpc sync"])
async def test_a_forked_process_asks_on_connections_of_its_own(caller: Caller, way: str) -> None:
    client = caller.client
    assert isinstance(client, Client)
    await caller.infer("double", {"x": ROWS})
    kept = _connection(client)
    here, there = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=_ask_in_child, args=(client, there))
    child.start()
    pid, answer = await asyncio.to_thread(here.recv)
    await asyncio.to_thread(child.join)
    assert (pid, answer, child.exitcode) == (child.pid, [[6, 12], [18, 27]], 0)
    assert (await caller.infer("double", {"x": ROWS})).array.tolist() == [[2, 4], [6, 9]]
    assert _connection(client) is kept


def _connection(client: Client) -> Any:
    """The one that the client keeps, or its channel."""
    if isinstance(client._transport, HttpConnections):
        (idle,) = client._transport._idle
        return idle
    return client._transport._channels._channel


def test_an_async_client_may_be_used_in_one_event_loop_after_another() -> None:
    client = AsyncClient("http://127.0.0.1:9", retries=Retries(tries=1))

    async def ask() -> bool:
        return await client.ready()

    assert [asyncio.run(ask()) for _ in range(2)] == [False, False]


# -- addresses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "options", "text"),
    [
        ("127.0.0.1:8080", {}, "expected an address as http://127.0.0.1:8080 or grpc://127.0.0.1:8081"),
        ("ftp://127.0.0.1", {}, "expected an address as"),
        ("http://user:word@127.0.0.1", {}, "expected an address as"),
        ("http://127.0.0.1:99999", {}, "expected an address as"),
        ("http://[::1", {}, "expected an address as"),
        ("grpc://127.0.0.1:1/models", {}, "an address of gRPC has no path"),
        ("http://127.0.0.1", {"api_key": "a\r\nb: c"}, "expected a key as `onegate keys create` prints it"),
        ("https://127.0.0.1", {"certificate": "c.pem"}, "a client's certificate and its private key go together"),
        ("http://127.0.0.1", {"deadline_s": 0}, "expected a deadline of more than 0 seconds, got 0"),
        ("https://127.0.0.1", {"ca": "/nowhere/ca.pem"}, "can't be read: No such file or directory"),
        ("grpcs://127.0.0.1", {"ca": "/nowhere/ca.pem"}, "can't be read: No such file or directory"),
    ],
)
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_client_that_can_t_be_is_refused_when_it_is_made(
    kind: type[Client | AsyncClient], url: str, options: dict[str, Any], text: str
) -> None:
    with pytest.raises(ConfigError, match=text):
        kind(url, **options)


async def test_nobody_answers(way: str, free_port: int) -> None:
    scheme = way[:4]
    async with caller_of(way, f"{scheme}://127.0.0.1:{free_port}", retries=Retries(tries=2)) as caller:
        with pytest.raises(ModelNotReady, match=rf"^no endpoint answers at {scheme}://127\.0\.0\.1:{free_port} \("):
            await caller.infer("double", ROWS)
        assert await caller.ready() is False
