"""A client beside the load: answers are compared, mistakes made on purpose, and some clients leave in the middle."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable
from urllib.parse import urlsplit

import numpy as np

from benchmarks.bare import BareOnnx
from benchmarks.client import HEADER_LENGTH, Body, first_output
from benchmarks.models import BenchmarkModel, binary_body, json_body

PAUSE_S = 0.02
"""Between calls: beside the load they are to be there, and not to slow it."""
TIMEOUT_S = 30.0
TOLERANCE = 1e-5
"""Largest difference from bare ONNX Runtime, relative to the largest value."""
MANY_ROWS = 300
"""More than a batch holds: the request is split and joined again."""

Outcome = str | None
"""What was wrong, or None."""


class SoakClient:
    """Calls each of `urls` in each way, in turn, while its block lasts. `calls` counts them by what they are, and
    `failures` tells of those that were not answered as they should be."""

    def __init__(self, urls: dict[str, str], model: BenchmarkModel, bare: BareOnnx) -> None:
        self.calls: Counter[str] = Counter()
        self.failures: list[str] = []
        rows = np.repeat(model.row, MANY_ROWS, axis=0) * np.linspace(-1, 1, MANY_ROWS, dtype=np.float32)[:, None]
        one, many = bare.run(model.row), bare.run(rows)
        self._ways: dict[str, Callable[[str], Outcome]] = {
            "JSON": lambda url: _answered(url, json_body(model.row), one),
            "binary": lambda url: _answered(url, binary_body(model.row), one),
            "split": lambda url: _answered(url, binary_body(rows), many),
            "unknown model": lambda url: _refused(url.replace("/infer", "-none/infer"), model.body.content, 404),
            "wrong shape": lambda url: _refused(url, json_body(model.row[:, :3]).content, 400),
            "damaged JSON": lambda url: _refused(url, model.body.content[:-5], 400),
            "left before the answer": lambda url: _left(url, model.body.content, sent=len(model.body.content)),
            "left in the body": lambda url: _left(url, model.body.content, sent=40),
        }
        self._urls = urls
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="soak client")

    def __enter__(self) -> SoakClient:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ending.is_set():
            for way, call in self._ways.items():
                for name, url in self._urls.items():
                    self.calls[way] += 1
                    if (wrong := _outcome(call, url)) is not None:
                        self.failures.append(f"{name}, {way}: {wrong}")
                    self._ending.wait(PAUSE_S)


def _outcome(call: Callable[[str], Outcome], url: str) -> Outcome:
    try:
        return call(url)
    except (OSError, http.client.HTTPException, ValueError, LookupError) as error:
        return repr(error)


def _answered(url: str, body: Body, expected: np.ndarray) -> Outcome:
    status, content, header_length = _post(url, body)
    if status != 200:
        return f"expected 200, got {status}: {content[:200]!r}"
    got = first_output(content, header_length)
    if got.shape != expected.shape:
        return f"expected the shape {expected.shape}, got {got.shape}"
    difference = float(np.abs(got - expected).max() / np.abs(expected).max())
    return None if difference <= TOLERANCE else f"the answer is {difference:.1e} off"


def _refused(url: str, content: bytes, expected: int) -> Outcome:
    status, answer, _ = _post(url, Body(content, {"Content-Type": "application/json"}))
    return None if status == expected else f"expected {expected}, got {status}: {answer[:200]!r}"


def _post(url: str, body: Body) -> tuple[int, bytes, str | None]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    try:
        connection.request("POST", parts.path, body.content, body.headers)
        reply = connection.getresponse()
        return reply.status, reply.read(), reply.headers.get(HEADER_LENGTH)
    finally:
        connection.close()


def _left(url: str, content: bytes, sent: int) -> Outcome:
    """A client that resets its connection after `sent` bytes of the body, without looking for an answer."""
    parts = urlsplit(url)
    head = f"POST {parts.path} HTTP/1.1\r\nhost: soak\r\ncontent-length: {len(content)}\r\n\r\n"
    with socket.create_connection((parts.hostname, parts.port), timeout=TIMEOUT_S) as connection:
        connection.sendall(head.encode() + content[:sent])
        # To linger for no time turns the close into a reset.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return None
