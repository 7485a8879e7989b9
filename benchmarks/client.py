"""The client: wrk, which keeps a number of connections busy with one request, and one plain call for checks.

wrk counts what goes wrong; a measurement with a single error is none, and raises.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.failure import BenchmarkFailed

REQUEST_TIMEOUT_S = 30
"""Far above any answer here: wrk's default of 2 s would count a slow contestant's answers as errors."""

HEADER_LENGTH = "inference-header-content-length"

SCRIPT = """
local body = io.open("{body}", "rb")
wrk.method = "POST"
wrk.body = body:read("*a")
body:close()
{headers}
local paths, requests = {{{paths}}}, {{}}
if #paths > 0 then
  init = function(args)
    for i, path in ipairs(paths) do requests[i] = wrk.format(nil, path) end
  end
  local turn = 0
  request = function()
    turn = turn % #requests + 1
    return requests[turn]
  end
end
done = function(summary, latency, requests)
  local e = summary.errors
  local out = io.open("{result}", "w")
  out:write(string.format(
    '{{"requests": %d, "duration_us": %d, "p50_us": %d, "p99_us": %d, "max_us": %d, "status": %d, "socket": %d}}',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
    e.status, e.connect + e.read + e.write + e.timeout))
  out:close()
end
"""


@dataclass(frozen=True)
class Body:
    """What is posted."""

    content: bytes
    headers: dict[str, str]


class Load(msgspec.Struct, frozen=True):
    """What wrk measured. Latencies are corrected by wrk for requests that a stalled connection kept from being sent."""

    requests: int
    duration_us: int
    p50_us: int
    p99_us: int
    max_us: int
    status: int
    """Answers with a status above 399."""
    socket: int
    """Connections that failed, and answers that did not come in time."""


def required_program(name: str, what: str, package: str) -> str:
    """The path of a program; raises `BenchmarkFailed` where it is not installed, which Debian's `package` brings."""
    path = shutil.which(name)
    if path is None:
        raise BenchmarkFailed(f"{name}, {what}, is not installed: apt-get install {package}")
    return path


def require_wrk() -> str:
    """The path of wrk; raises `BenchmarkFailed` where it is not installed."""
    return required_program("wrk", "the load generator", "wrk")


def wrk_version() -> str:
    """As `debian/4.1.0-3+b2`. Raises as `require_wrk`."""
    # `wrk -v` prints its usage too, and exits with 1.
    out = subprocess.run([require_wrk(), "-v"], capture_output=True, text=True, check=False).stdout
    return out.split()[1] if len(out.split()) > 1 else "unknown"


def run_load(url: str, body: Body, *, connections: int, duration_s: int, paths: Sequence[str] = ()) -> Load:
    """Keeps `connections` busy for `duration_s` from one thread; with `paths`, each in turn instead of `url`'s own.

    Raises `BenchmarkFailed` when wrk fails, no answer came, or any answer or connection was an error.
    """
    with tempfile.TemporaryDirectory(prefix="bench-wrk-") as folder:
        script = _write_script(Path(folder), body, paths)
        command = [require_wrk(), "-t1", f"-c{connections}", f"-d{duration_s}s", f"--timeout={REQUEST_TIMEOUT_S}s"]
        limit_s = duration_s + REQUEST_TIMEOUT_S
        try:
            done = subprocess.run(
                [*command, "-s", str(script), url], capture_output=True, text=True, timeout=limit_s, check=False
            )
            load = msgspec.json.decode((Path(folder) / "result.json").read_bytes(), type=Load)
        except subprocess.TimeoutExpired as error:
            raise BenchmarkFailed(f"wrk against {url} did not end within {limit_s} s") from error
        except (OSError, msgspec.DecodeError) as error:
            raise BenchmarkFailed(
                f"wrk against {url} gave no result: {(done.stderr or done.stdout).strip()}"
            ) from error
    if not load.requests or load.status or load.socket:
        raise BenchmarkFailed(
            f"{url} under {connections} connections: {load.requests} answers, {load.status} of them errors, "
            f"{load.socket} socket errors; a measurement must have none"
        )
    return load


def _write_script(folder: Path, body: Body, paths: Sequence[str]) -> Path:
    (folder / "body").write_bytes(body.content)
    headers = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in body.headers.items())
    script = folder / "load.lua"
    listed = ", ".join(f'"{path}"' for path in paths)
    text = SCRIPT.format(body=folder / "body", result=folder / "result.json", headers=headers, paths=listed)
    script.write_text(text)
    return script


def ask(url: str, body: Body, *, timeout_s: float = REQUEST_TIMEOUT_S) -> np.ndarray:
    """Sends the request once; the first output, float32. Raises `BenchmarkFailed` when there is no good answer."""
    request = urllib.request.Request(url, data=body.content, headers=body.headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as reply:
            return first_output(reply.read(), reply.headers.get(HEADER_LENGTH))
    except urllib.error.HTTPError as error:
        raise BenchmarkFailed(f"{url} answered {error.code}: {error.read()[:200]!r}") from error
    except (OSError, ValueError, LookupError) as error:
        raise BenchmarkFailed(f"{url} gave no answer that can be read: {error}") from error


def first_output(content: bytes, header_length: str | None) -> np.ndarray:
    """The first output, float32, of a reply of the Open Inference Protocol."""
    size = len(content) if header_length is None else int(header_length)
    output = json.loads(content[:size])["outputs"][0]
    if header_length is None:
        values = np.array(output["data"], dtype=np.float32)
    else:
        values = np.frombuffer(content[size : size + output["parameters"]["binary_data_size"]], dtype=np.float32)
    return values.reshape(output["shape"])
