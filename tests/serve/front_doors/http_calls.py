"""Calls of an HTTP endpoint, by Python's own client and by hand."""

from __future__ import annotations

import asyncio
import http.client
import json
from typing import Any

from serve.batching import BatchQueue
from tests.serve.tiny_versions import GatedExecutor

INFER = "/v2/models/double/infer"


def tensor(name: str = "x", **changes: Any) -> dict[str, Any]:
    return {"name": name, "shape": [1, 2], "datatype": "FP32", "data": [1.5, -2]} | changes


def body(*inputs: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"inputs": list(inputs)} | more).encode()


async def call(
    port: int, method: str, path: str, content: bytes | None = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of one call of Python's own client."""

    def blocking() -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request(method, path, content, {k.replace("_", "-"): v for k, v in headers.items()})
            reply = connection.getresponse()
            return reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read()
        finally:
            connection.close()

    return await asyncio.to_thread(blocking)


async def converse(port: int, sent: bytes) -> bytes:
    """What comes back for `sent`, until the server has nothing more to say for half a second."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    answer = b""
    try:
        while part := await asyncio.wait_for(reader.read(65536), 0.5):
            answer += part
    except TimeoutError:
        pass
    writer.close()
    return answer


def framed(content: bytes) -> bytes:
    """A whole request on the wire."""
    return b"POST %b HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n%b" % (INFER.encode(), len(content), content)


def release(executor: GatedExecutor, queue: BatchQueue) -> None:
    executor.slots = 1
    executor.gate.set()
    queue.wake()
