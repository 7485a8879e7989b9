"""A line for each request, written beside the requests: what it says, and what becomes of one that can not be."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest

from serve.access_log import MAX_NOTED, AccessLog
from serve.asking import Asked
from serve.log_format import LogStyle
from tests.serve.tiny_versions import GatedExecutor, dispatcher_of, entry
from tests.serve.tracing.traced import INFER, ask, body, endpoint, message
from tests.serve.waiting import eventually


def opened(file: Path | None, form: str = "json") -> AccessLog:
    access_log = AccessLog(None if file is None else str(file), LogStyle(form), "gateway")  # type: ignore[arg-type]
    access_log.start()
    return access_log


async def written(access_log: AccessLog, file: Path) -> list[dict[str, Any]]:
    """All lines, once the log is closed."""
    await asyncio.to_thread(access_log.close)
    return [json.loads(line) for line in (await asyncio.to_thread(file.read_text)).splitlines()]


async def test_an_inference_is_a_line_with_how_it_went(free_port: int, tmp_path: Path) -> None:
    access_log = opened(tmp_path / "access")
    async with endpoint(dispatcher_of(entry(version=3)), free_port, access_log=access_log) as at:
        _, headers = await ask(at)
    (line,) = await written(access_log, tmp_path / "access")
    varying = {key: line.pop(key) for key in ("time", "ms", "queue_ms", "run_ms", "client", "bytes_out")}
    assert line == {
        "level": "INFO",
        "process": "gateway",
        "text": f"POST {INFER} 200",
        "request": headers["x-request-id"],
        "protocol": "http",
        "method": "POST",
        "target": INFER,
        "status": 200,
        "bytes_in": len(body()),
        "dialect": "open_inference",
        "model": "double",
        "version": "3",
        "batch_rows": 1,
    }
    assert 0 < varying["queue_ms"] + varying["run_ms"] < varying["ms"]
    assert varying["client"].startswith("127.0.0.1:")
    assert varying["bytes_out"] == int(headers["content-length"])


async def test_other_requests_and_refused_ones_have_lines_too(free_port: int, tmp_path: Path) -> None:
    access_log = opened(tmp_path / "access")
    async with endpoint(dispatcher_of(entry()), free_port, access_log=access_log) as at:
        async with aiohttp.ClientSession() as session, session.get(f"{at.url}/v2/health/ready") as answer:
            await answer.read()
        await ask(at, "/v2/models/nobody/infer")
        await ask(at, "/nowhere")
        await ask(at, data=b"{")
        async with grpc.aio.insecure_channel(at.grpc) as channel:
            await channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")(message())
            await channel.unary_unary("/inference.GRPCInferenceService/ServerLive")(b"")
            with pytest.raises(grpc.aio.AioRpcError):
                await channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")(message("nobody"))
            with pytest.raises(grpc.aio.AioRpcError):
                await channel.unary_unary("/no.Service/Method")(b"")
        reader, writer = await asyncio.open_connection("127.0.0.1", free_port)
        writer.write(b"nonsense\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 400")
        writer.close()
    lines = await written(access_log, tmp_path / "access")
    assert [line["text"] for line in lines] == [
        "GET /v2/health/ready 200",
        "POST /v2/models/nobody/infer 404",
        "POST /nowhere 404",
        f"POST {INFER} 400",
        "gRPC /inference.GRPCInferenceService/ModelInfer OK",
        "gRPC /inference.GRPCInferenceService/ServerLive OK",
        "gRPC /inference.GRPCInferenceService/ModelInfer NOT_FOUND",
        "gRPC /no.Service/Method UNIMPLEMENTED",
        "?  400",
    ]
    assert [line.get("error", "") for line in lines] == [
        "", "ModelNotFound", "", "InvalidInput", "", "", "ModelNotFound", "", "",
    ]  # fmt: skip


async def test_a_call_too_many_has_a_line_though_nothing_was_begun_for_it(free_port: int, tmp_path: Path) -> None:
    access_log, executor = opened(tmp_path / "access"), GatedExecutor()
    dispatcher = dispatcher_of(entry(), executor=executor)
    async with (
        endpoint(dispatcher, free_port, access_log=access_log, max_requests=1) as at,
        grpc.aio.insecure_channel(at.grpc) as channel,
    ):
        method = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        first = method(message())
        await eventually(lambda: executor.started == 1)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await method(message())
        executor.gate.set()
        await first
    lines = await written(access_log, tmp_path / "access")
    assert [line["status"] for line in lines] == ["RESOURCE_EXHAUSTED", "OK"]
    assert dict(refused.value.trailing_metadata())["x-request-id"] == lines[0]["request"]


async def test_a_client_that_leaves_has_a_line_with_499(free_port: int, tmp_path: Path) -> None:
    access_log, executor = opened(tmp_path / "access"), GatedExecutor()
    async with endpoint(dispatcher_of(entry(), executor=executor), free_port, access_log=access_log) as at:
        asking = asyncio.ensure_future(ask(at))
        await eventually(lambda: executor.started == 1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await eventually(lambda: access_log.noted == 1)
        executor.gate.set()
    (line,) = await written(access_log, tmp_path / "access")
    assert (line["status"], line["error"]) == (499, "cancelled")


def test_a_line_of_text_is_one_line_whatever_the_client_sends(capsys: pytest.CaptureFixture[str]) -> None:
    access_log = opened(None, "text")
    asked = Asked(method="GET", target="/a\nb\u2028\x1b[31m", status=404, made="r1")
    access_log.note(asked, time.perf_counter_ns(), bytes_out=3, peer="10.0.0.1:5")
    access_log.close()
    (line,) = capsys.readouterr().err.splitlines()
    assert " INFO gateway: GET /a\\x0ab\\u2028\\x1b[31m 404 0." in line
    assert line.endswith(" ms bytes_in=0 bytes_out=3 client=10.0.0.1:5 (request r1)")


def test_the_file_may_be_moved_away(tmp_path: Path) -> None:
    access_log = opened(tmp_path / "access")
    for moved in ("1", "2"):
        access_log.note(Asked(method="GET", target=moved), 0)
        end = time.monotonic() + 5
        while not (tmp_path / "access").exists():
            assert time.monotonic() < end
            time.sleep(0.01)
        os.rename(tmp_path / "access", tmp_path / moved)
    access_log.close()
    assert [json.loads((tmp_path / moved).read_text())["target"] for moved in ("1", "2")] == ["1", "2"]
    assert (tmp_path / "1").stat().st_mode & 0o777 == 0o600


def test_a_file_that_can_not_be_written_costs_lines_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    access_log = opened(tmp_path / "no" / "access")

    def lose(count: int, lost: int) -> None:
        for _ in range(count):
            access_log.note(Asked(method="GET"), 0)
        end = time.monotonic() + 5
        while access_log.dropped != lost:
            assert time.monotonic() < end
            time.sleep(0.01)

    lose(2, 2)
    lose(3, 5)
    (tmp_path / "no").mkdir()
    access_log.note(Asked(method="GET"), 0)
    access_log.close()
    assert len((tmp_path / "no" / "access").read_text().splitlines()) == 1
    lost, again = [record.getMessage() for record in caplog.records]
    assert lost.startswith("lines of the access log are being lost: [Errno 2]")
    assert again == "the access log is written again; 5 lines of it are lost"


def test_what_comes_faster_than_it_is_written_is_dropped_and_counted(tmp_path: Path) -> None:
    access_log = AccessLog(str(tmp_path / "access"), LogStyle("json"), "gateway")
    for _ in range(MAX_NOTED + 7):
        access_log.note(Asked(method="GET"), 0)
    assert access_log.dropped == 7
    access_log.start()
    access_log.close()
    assert len((tmp_path / "access").read_text().splitlines()) == MAX_NOTED


def test_a_full_disk_costs_requests_nothing(tmp_path: Path) -> None:
    access_log = AccessLog("/dev/full", LogStyle("json"), "gateway")
    access_log.note(Asked(method="GET"), 0)
    access_log.start()
    access_log.close()
    assert access_log.dropped == 1
