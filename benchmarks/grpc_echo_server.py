"""A bare grpc.aio server: it parses each Open Inference request and answers with one and the same response.

What it leaves out is all that a model server does; what is left is the least that a Python server costs.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import grpc
import numpy as np
import uvloop

from benchmarks.models import OUTPUT
from serve.protocols import open_inference as messages

COLUMNS = 4
"""Of the small net's answer, whose size this one has."""


def response() -> Any:
    """float32[1, 4] of zeros."""
    output = {"name": OUTPUT, "datatype": "FP32", "shape": [1, COLUMNS]}
    values = np.zeros((1, COLUMNS), np.float32).tobytes()
    return messages.ModelInferResponse(
        model_name="echo", model_version="1", outputs=[output], raw_output_contents=[values]
    )


async def serve(port: int) -> None:
    """Listens on the loopback until it is ended."""
    answer = response()

    async def infer(request: Any, context: Any) -> Any:
        return answer

    handler = grpc.unary_unary_rpc_method_handler(
        infer,
        request_deserializer=messages.ModelInferRequest.FromString,
        response_serializer=messages.ModelInferResponse.SerializeToString,
    )
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(messages.SERVICE, {"ModelInfer": handler})])
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.install()
    asyncio.run(serve(int(sys.argv[1])))
