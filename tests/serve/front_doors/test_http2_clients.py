"""Clients that are not ours: nghttp2's and curl, where they are installed (Debian: nghttp2-client, curl)."""

from __future__ import annotations

import asyncio
import re
import shutil
from pathlib import Path

import pytest

from tests.serve.front_doors.http2_bytes import message
from tests.serve.front_doors.http2_service import Served
from tests.serve.waiting import PATIENCE_S

GRPC = ("-H", "content-type: application/grpc", "-H", "te: trailers")


def needs(command: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(command) is None, reason=f"{command} is not installed on this machine")


async def run(*command: str) -> str:
    """What it writes; it must end well."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(60):
        out, _ = await process.communicate()
    assert process.returncode == 0, out.decode(errors="replace")
    return out.decode(errors="replace")


@pytest.fixture
def body(tmp_path: Path) -> str:
    """A file with a message."""
    path = tmp_path / "message"
    path.write_bytes(message(b"hello"))
    return str(path)


@needs("h2load")
@pytest.mark.parametrize(
    "options",
    [
        ("-c1", "-m1"),
        ("-c2", "-m100"),
        ("-c1", "-m100", "-w", "14", "-W", "15"),
        ("-c4", "-m10", "--header-table-size=0"),
    ],
)
async def test_h2load_is_answered_each_time(served: Served, body: str, options: tuple[str, ...]) -> None:
    out = await run(
        "h2load", "-n4000", *options, "-d", body, *GRPC, f"http://127.0.0.1:{served.port}/test.Echo/Say"
    )  # fmt: skip
    assert "requests: 4000 total, 4000 started, 4000 done, 4000 succeeded, 0 failed, 0 errored, 0 timeout" in out
    assert "status codes: 4000 2xx, 0 3xx, 0 4xx, 0 5xx" in out
    assert len(served.echo.asked) == 4000


@needs("h2load")
async def test_h2load_gets_large_answers_through_small_windows(served: Served, tmp_path: Path) -> None:
    path = tmp_path / "message"
    path.write_bytes(message(b"300000"))
    url = f"http://127.0.0.1:{served.port}/test.Echo/Large"
    out = await run("h2load", "-n100", "-c2", "-m20", "-w", "12", "-W", "13", "-d", str(path), *GRPC, url)
    assert "100 succeeded" in out
    found = re.search(r"\(([0-9]+)\) data", out)
    assert found is not None
    assert int(found[1]) == 100 * 300_005


@needs("nghttp")
@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--header-table-size=0",),
        ("--header-table-size=100", "--encoder-header-table-size=100"),
        ("--no-dep",),
        ("--padding=200",),
        ("--continuation",),
        ("--window-bits=4", "--connection-window-bits=16"),
        ("--max-concurrent-streams=1",),
        ("--trailer", "x-checksum: 1"),
        ("--hexdump",),
        ("-m", "20"),
    ],
    ids=lambda options: " ".join(options),
)
async def test_nghttp_is_answered_whatever_it_is_told_to_do(
    served: Served, body: str, options: tuple[str, ...]
) -> None:
    url = f"http://127.0.0.1:{served.port}/test.Echo/Say"
    out = await run("nghttp", "-v", "-n", "--color", *options, "-d", body, *GRPC, url)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", out)
    times = 20 if "-m" in options else 1
    assert len(re.findall("grpc-status: 0", plain)) == times
    assert len(re.findall(":status: 200", plain)) == times
    assert "GOAWAY frame <" in plain
    assert not re.search("recv (RST_STREAM|GOAWAY)", plain)
    assert served.echo.asked == [b"hello"] * times


@needs("curl")
async def test_curl_is_answered(served: Served, body: str, tmp_path: Path) -> None:
    out = tmp_path / "answer"
    url = f"http://127.0.0.1:{served.port}/test.Echo/Shout"
    told = await run(
        "curl", "-sS", "--http2-prior-knowledge", "--data-binary", f"@{body}", *GRPC, "-D", "-", "-o", str(out), url
    )  # fmt: skip
    assert "grpc-status: 0" in told
    assert out.read_bytes() == message(b"HELLO")


@needs("curl")
@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
async def test_curl_with_http_1_is_turned_away_at_once(served: Served, body: str, version: str) -> None:
    process = await asyncio.create_subprocess_exec(
        "curl", "-sS", "--max-time", "10", version, "--data-binary", f"@{body}", *GRPC,
        f"http://127.0.0.1:{served.port}/test.Echo/Say",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(PATIENCE_S):
        await process.communicate()
    # Neither 0, all is well, nor 28, out of time.
    assert process.returncode not in (0, 28)
