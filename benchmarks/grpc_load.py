"""Load over gRPC: h2load, which keeps so many calls of one message under way on one connection.

A client in Python would need as much processor time as the server and measure itself; h2load needs a tenth. It knows no
gRPC: a call that fails is a response without a message there, which `run_calls` sees by the bytes.
"""

from __future__ import annotations

import re
import resource
import struct
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import grpc
import msgspec
import numpy as np

from benchmarks.client import required_program
from benchmarks.failure import BenchmarkFailed
from benchmarks.models import INPUT
from serve.protocols import open_inference as messages

PATH = f"/{messages.SERVICE}/ModelInfer"
WARM_UP_S = 1
TIMEOUT_S = 30.0
_DONE = re.compile(r"^requests: \d+ total, \d+ started, (\d+) done, (\d+) succeeded", re.MULTILINE)
_DATA = re.compile(r"\((\d+)\) data$", re.MULTILINE)
_PREFIX_BYTES = 5
"""In front of each gRPC message: a flag and its length."""


class Calls(msgspec.Struct, frozen=True):
    """What h2load measured."""

    calls: int
    calls_per_s: float
    client_cores: float
    """Processor time that h2load took, as a share of the time: near 1 it measures itself."""


def require_h2load() -> str:
    """The path of h2load; raises `BenchmarkFailed` where it is not installed."""
    return required_program("h2load", "the HTTP/2 load generator", "nghttp2-client")


def request(model: str, row: np.ndarray) -> bytes:
    """A `ModelInferRequest` with `row`, float32[1, ...], in raw contents."""
    described = {"name": INPUT, "datatype": "FP32", "shape": row.shape}
    message = messages.ModelInferRequest(model_name=model, inputs=[described], raw_input_contents=[row.tobytes()])
    data: bytes = message.SerializeToString()
    return data


def ask(address: str, message: bytes) -> Any:
    """The `ModelInferResponse` to one call; raises `BenchmarkFailed` when there is none."""
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(PATH, response_deserializer=messages.ModelInferResponse.FromString)
        try:
            return call(message, timeout=TIMEOUT_S, wait_for_ready=True)
        except grpc.RpcError as error:
            raise BenchmarkFailed(f"{address} gave no answer: {error.code()}: {error.details()}") from error


def run_calls(address: str, message: bytes, *, in_flight: int, duration_s: int) -> Calls:
    """Keeps `in_flight` calls under way for `duration_s`, after a second to warm up.

    Raises `BenchmarkFailed` when h2load fails, or answers are missing or empty.
    """
    answer_bytes = len(ask(address, message).SerializeToString()) + _PREFIX_BYTES
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    with tempfile.NamedTemporaryFile(prefix="bench-h2load-") as frame:
        frame.write(struct.pack(">BI", 0, len(message)) + message)
        frame.flush()
        out = _run(address, Path(frame.name), in_flight, duration_s)
    elapsed_s, after = time.monotonic() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    done, data = _DONE.search(out), _DATA.search(out)
    if done is None or data is None:
        raise BenchmarkFailed(f"h2load against {address} gave no result: {out.strip()[-300:]}")
    calls, succeeded = int(done[1]), int(done[2])
    # The frames of the last calls may still be on their way when h2load ends; a call that failed has none at all.
    if not calls or succeeded != calls or int(data[1]) < 0.9 * answer_bytes * calls:
        raise BenchmarkFailed(
            f"{address}: {calls} calls, {succeeded} answered, {data[1]} bytes of messages of {answer_bytes} bytes each"
        )
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Calls(calls, calls / duration_s, cpu_s / elapsed_s)


def _run(address: str, frame: Path, in_flight: int, duration_s: int) -> str:
    command = [require_h2load(), "-t1", "-c1", f"-m{in_flight}", f"-D{duration_s}", f"--warm-up-time={WARM_UP_S}"]
    command += ["-d", str(frame), "-H", "content-type: application/grpc", "-H", "te: trailers"]
    limit_s = WARM_UP_S + duration_s + TIMEOUT_S
    try:
        done = subprocess.run(
            [*command, f"http://{address}{PATH}"], capture_output=True, text=True, timeout=limit_s, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise BenchmarkFailed(f"h2load against {address} did not end within {limit_s:g} s") from error
    return done.stdout + done.stderr
