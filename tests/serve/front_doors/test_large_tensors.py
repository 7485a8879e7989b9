"""Large tensors over HTTP to a model replica and back: received, put together and answered in shared memory."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from model_store.manifest import TensorSpec
from serve.dialects.open_inference_http import OpenInferenceHttp
from serve.dialects.open_inference_replica import ReplicaService
from serve.executors.inline import InlineExecutor
from serve.executors.replicas import ReplicasExecutor
from serve.front_doors.http import ALIGNED_BYTES, HttpFrontDoor
from serve.front_doors.http_listener import HttpListener
from serve.front_doors.replica import ReplicaFrontDoor
from serve.inference import InputsWithRoom, Tensors
from serve.routing import Batching, Replica
from serve.runtimes.onnx import OnnxRuntime
from serve.shared_memory import Block, RegionPool
from tests.serve.tiny_versions import dispatcher_of, entry
from tests.serve.waiting import eventually

SECRET = "the cluster's own"
WIDTH = 100_000
"""float32 values of a row: 400 KB, for which a region of 512 KiB is taken."""
X, Y = TensorSpec("x", "FP32", (-1, WIDTH)), TensorSpec("y", "FP32", (-1, WIDTH))
INFER = "/v2/models/double/infer"
MAX_BODY_BYTES = 16_000_000


class Watched:
    """A runtime of ONNX Runtime that keeps what it was given, and waits before each answer while `gate` is closed."""

    def __init__(self, folder: Path) -> None:
        value = helper.make_tensor_value_info
        graph = helper.make_graph(
            [helper.make_node("Add", ["x", "x"], ["y"])],
            "double",
            [value("x", TensorProto.FLOAT, [None, WIDTH])],
            [value("y", TensorProto.FLOAT, [None, WIDTH])],
        )
        opset = helper.make_opsetid("", 17)
        onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=10), folder / "model.onnx")
        self._runtime = OnnxRuntime(folder, entry(inputs=[X], outputs=[Y]).manifest, threads=1)
        self.gate = threading.Event()
        self.gate.set()
        self.rows: list[int] = []
        self.aligned: list[bool] = []
        self.in_place: list[bool | None] = []
        """Of each batch, whether its answer was written where the gateway wanted it; None where it wanted none."""

    def run(self, inputs: Tensors, signature: str | None = None) -> Tensors:
        self.rows.append(len(inputs["x"]))
        self.aligned.append(inputs["x"].ctypes.data % ALIGNED_BYTES == 0)
        self.gate.wait(10)
        outputs = self._runtime.run(inputs, signature)
        room = inputs.room.get("y") if isinstance(inputs, InputsWithRoom) else None
        wanted = None if room is None else np.frombuffer(room, np.uint8).ctypes.data
        self.in_place.append(None if wanted is None else wanted == outputs["y"].ctypes.data)
        return outputs


class CountingPool(RegionPool):
    """Notes which regions were taken."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def take(self, size: int) -> Block:
        block = super().take(size)
        self.names.append(block.name)
        return block

    @property
    def lent(self) -> int:
        """Regions that somebody has."""
        return len(self._lent)

    @property
    def free(self) -> int:
        """Regions that nobody has."""
        return sum(map(len, self._free.values()))


class Served:
    """A gateway's HTTP port, its pool, and the runtime behind its replica."""

    def __init__(self, port: int, pool: CountingPool, runtime: Watched) -> None:
        self.port, self.pool, self.runtime = port, pool, runtime

    async def post(self, body: bytes, path: str = INFER, **headers: str) -> tuple[int, dict[str, str], bytes]:
        def blocking() -> tuple[int, dict[str, str], bytes]:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
            try:
                connection.request("POST", path, body, {k.replace("_", "-"): v for k, v in headers.items()})
                reply = connection.getresponse()
                return reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read()
            finally:
                connection.close()

        return await asyncio.to_thread(blocking)

    async def double(self, x: np.ndarray, padding: int = 0) -> np.ndarray:
        """The answer to a binary tensor, which must be a good one; `padding` makes the JSON part longer."""
        header, body = request(x, padding)
        status, headers, content = await self.post(body, inference_header_content_length=str(header))
        assert status == 200, content[:200]
        begin = int(headers["inference-header-content-length"])
        return np.frombuffer(content[begin:], np.float32).reshape(json.loads(content[:begin])["outputs"][0]["shape"])


def request(x: np.ndarray, padding: int = 0, **parameters: Any) -> tuple[int, bytes]:
    """The length of the JSON part, and the body."""
    tensor = {"name": "x", "datatype": "FP32", "shape": x.shape, "parameters": {"binary_data_size": x.nbytes}}
    message = {"inputs": [tensor], "parameters": {"binary_data_output": True, **parameters}}
    header = json.dumps(message).encode() + b" " * padding
    return len(header), header + x.tobytes()


def rows(*values: float) -> np.ndarray:
    return np.repeat(np.array(values, np.float32)[:, None], WIDTH, axis=1)


@pytest.fixture
async def served(free_port: int, tmp_path: Path) -> AsyncIterator[Served]:
    runtime, pool, batching = Watched(tmp_path), CountingPool(), Batching(max_batch_size=4)
    described = entry(inputs=[X], outputs=[Y], batching=batching)
    inline = InlineExecutor(runtime, on_loop=False)
    door = ReplicaFrontDoor(ReplicaService(dispatcher_of(described, executor=inline).answer), SECRET)
    (replica_port,) = await door.start(["127.0.0.1:0"])
    replicas = ReplicasExecutor(described.key, "here", SECRET, pool)
    await replicas.update([Replica("a", "here", f"127.0.0.1:{replica_port}", "")])
    gateway = dispatcher_of(described, executor=replicas)
    front = HttpFrontDoor([OpenInferenceHttp()], gateway.answer, MAX_BODY_BYTES, regions=pool)
    listener = HttpListener(front, "127.0.0.1", free_port)
    listener.start()
    yield Served(free_port, pool, runtime)
    runtime.gate.set()
    await listener.stop()
    await replicas.close()
    await door.stop(1)
    await inline.close()
    assert pool.lent == 0


async def test_a_large_tensor_is_answered_right_from_regions_that_are_used_again(served: Served) -> None:
    for value in (1, 2, 3, 4):
        assert np.array_equal(await served.double(rows(value)), rows(2 * value))
    # One for the body, and from the second on one for the answer: nothing else is copied to shared memory.
    assert len(served.pool.names) == 1 + 3 * 2
    assert len(set(served.pool.names)) == 2
    assert served.runtime.in_place == [None, True, True, True]


async def test_tensors_are_aligned_wherever_the_json_part_ends(served: Served) -> None:
    for padding in range(0, 70, 7):
        assert np.array_equal(await served.double(rows(padding), padding), rows(2 * padding))
    assert set(served.runtime.aligned) == {True}


async def test_tensors_of_changing_sizes_are_answered_with_their_own_values(served: Served) -> None:
    for count in (4, 1, 3, 2, 1, 4, 2):
        x = np.random.default_rng(count).standard_normal((count, WIDTH)).astype(np.float32)
        assert np.array_equal(await served.double(x), 2 * x)
    # Of a row, of two, of three and four: for the body and for the answer.
    assert len(set(served.pool.names)) <= 2 * 3
    assert served.runtime.in_place[1:] == [True] * 6


async def test_a_request_of_more_rows_than_a_batch_is_answered_whole(served: Served) -> None:
    values = [float(value) for value in range(11)]
    for _ in range(2):
        assert np.array_equal(await served.double(rows(*values)), rows(*[2 * value for value in values]))
    assert max(served.runtime.rows) <= 4


async def test_requests_that_share_a_batch_get_their_own_rows(served: Served) -> None:
    await served.double(rows(0))
    served.runtime.gate.clear()
    sent = [asyncio.ensure_future(served.double(rows(value))) for value in range(1, 9)]
    await eventually(lambda: served.pool.lent >= 8)
    served.runtime.gate.set()
    for value, answer in enumerate(await asyncio.gather(*sent), 1):
        assert np.array_equal(answer, rows(2 * value))
    assert max(served.runtime.rows) > 1
    # Batches that waited together at the replica are one there, whose answer is no single region's.
    assert True in served.runtime.in_place
    assert False not in served.runtime.in_place


async def test_a_client_that_leaves_in_mid_body_gives_its_region_back(served: Served) -> None:
    header, body = request(rows(66))
    for _ in range(3):
        _, writer = await asyncio.open_connection("127.0.0.1", served.port)
        head = (
            f"POST {INFER} HTTP/1.1\r\ncontent-length: {len(body)}\r\ninference-header-content-length: {header}\r\n\r\n"
        )
        writer.write(head.encode() + body[:-1])
        await writer.drain()
        await eventually(lambda: served.pool.lent == 1)
        writer.close()
        await eventually(lambda: served.pool.lent == 0)
    assert (len(set(served.pool.names)), served.pool.free) == (1, 1)
    assert np.array_equal(await served.double(rows(3)), rows(6))


async def test_a_client_that_leaves_while_its_model_runs_gives_its_region_back_after_that(served: Served) -> None:
    await served.double(rows(1))
    header, body = request(rows(66))
    served.runtime.gate.clear()
    _, writer = await asyncio.open_connection("127.0.0.1", served.port)
    head = f"POST {INFER} HTTP/1.1\r\ncontent-length: {len(body)}\r\ninference-header-content-length: {header}\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()
    await eventually(lambda: len(served.runtime.rows) == 2)
    writer.close()
    await asyncio.sleep(0.05)
    assert served.pool.lent == 2
    served.runtime.gate.set()
    await eventually(lambda: served.pool.lent == 0)
    assert np.array_equal(await served.double(rows(3)), rows(6))


async def test_what_a_replica_is_still_at_when_the_deadline_passes_is_never_used_again(served: Served) -> None:
    await served.double(rows(1))
    served.runtime.gate.clear()
    header, body = request(rows(66), timeout=100_000)
    before = len(served.pool.names)
    status, _, _ = await served.post(body, inference_header_content_length=str(header))
    assert status == 504
    given_up = set(served.pool.names[before:])
    assert len(given_up) == 2
    await eventually(lambda: served.pool.lent == 0)
    before = len(served.pool.names)
    sent = [asyncio.ensure_future(served.double(rows(value))) for value in (3, 4, 5)]
    await eventually(lambda: served.pool.lent >= 4)
    served.runtime.gate.set()
    for value, answer in zip((3, 4, 5), await asyncio.gather(*sent), strict=True):
        assert np.array_equal(answer, rows(2 * value))
    assert given_up.isdisjoint(served.pool.names[before:])


async def test_an_answer_of_many_connections_is_their_own(served: Served) -> None:
    async def client(number: int) -> None:
        for turn in range(6):
            value = 100 * number + turn
            assert np.array_equal(await served.double(rows(value), padding=number), rows(2 * value))

    await asyncio.gather(*map(client, range(8)))
    assert served.pool.lent == 0


async def test_answers_that_wait_for_their_reader_are_not_overwritten(served: Served) -> None:
    await served.double(rows(0, 0, 0, 0))
    # More than the kernel takes; the reader takes little until it is asked to.
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    values = range(1, 11)
    for value in values:
        header, body = request(rows(*[value] * 4))
        head = (
            f"POST {INFER} HTTP/1.1\r\ncontent-length: {len(body)}\r\ninference-header-content-length: {header}\r\n\r\n"
        )
        writer.write(head.encode() + body)
    await asyncio.sleep(0.3)
    for value in (50, 60, 70):
        assert np.array_equal(await served.double(rows(*[value] * 4)), rows(*[2 * value] * 4))
    for value in values:
        head_lines = (await reader.readuntil(b"\r\n\r\n")).decode().lower().splitlines()
        told = dict(line.split(": ", 1) for line in head_lines[1:] if line)
        content = await reader.readexactly(int(told["content-length"]))
        answer = np.frombuffer(content[int(told["inference-header-content-length"]) :], np.float32)
        assert np.array_equal(answer.reshape(4, WIDTH), rows(*[2 * value] * 4))
    writer.close()


# -- other bodies ----------------------------------------------------------------------------------------------------


async def test_a_raw_body_is_received_as_bytes(served: Served) -> None:
    status, headers, content = await served.post(rows(5).tobytes(), inference_header_content_length="0")
    assert status == 200
    begin = int(headers["inference-header-content-length"])
    assert np.array_equal(np.frombuffer(content[begin:], np.float32), rows(10)[0])
    assert len(served.pool.names) == 1  # to send it to the replica


async def test_numbers_in_json_are_received_as_bytes(served: Served) -> None:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, WIDTH], "data": rows(5)[0].tolist()}
    status, _, content = await served.post(json.dumps({"inputs": [tensor]}).encode())
    assert (status, set(json.loads(content)["outputs"][0]["data"])) == (200, {10.0})
    assert len(served.pool.names) == 1


async def test_a_packed_body_is_unpacked(served: Served) -> None:
    noise = np.random.default_rng(0).standard_normal((1, WIDTH)).astype(np.float32)
    header, body = request(noise)
    packed = gzip.compress(body, 1)
    assert len(packed) > 300_000
    status, headers, content = await served.post(
        packed, inference_header_content_length=str(header), content_encoding="gzip"
    )
    assert status == 200
    begin = int(headers["inference-header-content-length"])
    assert np.array_equal(np.frombuffer(content[begin:], np.float32), 2 * noise[0])


@pytest.mark.parametrize(
    ("length", "told"),
    [
        (lambda header: str(header + 10**6), "must be 0 to"),
        (lambda header: "-1", "must be 0 to"),
        (lambda header: str(header - 1), "is not a v2 inference request"),
        (lambda header: str(header + 1), "is not a v2 inference request"),
    ],
    ids=["beyond the body", "negative", "too short", "too long"],
)
async def test_a_wrong_length_of_the_json_part_is_told(served: Served, length: Callable[[int], str], told: str) -> None:
    header, body = request(rows(5))
    status, _, content = await served.post(body, inference_header_content_length=length(header))
    assert (status, told in json.loads(content)["error"]) == (400, True), content
    assert served.pool.lent == 0


async def test_another_call_with_that_header_is_read_all_the_same(served: Served) -> None:
    body = json.dumps({"ready": True, "more": "x" * 300_000}).encode()
    status, _, content = await served.post(body, "/v2/repository/load", inference_header_content_length="10")
    assert status == 404
    status, _, content = await served.post(body[1:], "/v2/repository/index", inference_header_content_length="10")
    assert (status, "is not a v2 repository request" in json.loads(content)["error"]) == (400, True)


async def test_bodies_are_received_elsewhere_where_many_regions_are_lent(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    await served.double(rows(1))
    monkeypatch.setattr("serve.shared_memory.MOST_LENT", 0)
    assert np.array_equal(await served.double(rows(3)), rows(6))


async def test_a_claimed_length_takes_no_memory(served: Served) -> None:
    head = f"POST {INFER} HTTP/1.1\r\ncontent-length: {MAX_BODY_BYTES}\r\ninference-header-content-length: 100\r\n\r\n"
    writers = [(await asyncio.open_connection("127.0.0.1", served.port))[1] for _ in range(4)]
    for writer in writers:
        writer.write(head.encode() + b"x")
    await eventually(lambda: served.pool.lent == 4)
    assert sum(_pages(name) for name in served.pool.names) <= 4 * 2
    for writer in writers:
        writer.close()
    await eventually(lambda: served.pool.lent == 0)


def _pages(name: str) -> int:
    """Pages of memory that a region takes."""
    _, pid, descriptor, *_ = name.split("-")
    return Path(f"/proc/{pid}/fd/{descriptor}").stat().st_blocks * 512 // 4096
