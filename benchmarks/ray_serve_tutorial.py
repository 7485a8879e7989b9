"""The contestant that onegate is compared with: Ray Serve as its tutorial writes it, an ingress and a model handle.

A program of its own, started by the benchmark. Every option but one is Ray Serve's default: `max_ongoing_requests`,
with whose default of 5 it backs off and answers a dozen requests a second when 64 connections ask. Request and answer
are those of the Open Inference Protocol, so that all contestants get the same bytes.
"""

from __future__ import annotations

import argparse
import os
import signal
import threading
from typing import Any

import numpy as np
import onnxruntime
import ray
from ray import serve
from ray.serve.handle import DeploymentHandle
from starlette.requests import Request


@serve.deployment
class Model:
    """The model, in a replica of its own."""

    def __init__(self, path: str, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name
        self.output = self.session.get_outputs()[0].name

    def predict(self, batch: np.ndarray) -> np.ndarray:
        answer: np.ndarray = self.session.run([self.output], {self.input: batch})[0]
        return answer


@serve.deployment
class Ingress:
    """HTTP on one side, the model's handle on the other."""

    def __init__(self, model: DeploymentHandle) -> None:
        self.model = model

    async def __call__(self, request: Request) -> dict[str, Any]:
        tensor = (await request.json())["inputs"][0]
        batch = np.array(tensor["data"], dtype=np.float32).reshape(tensor["shape"])
        answer: np.ndarray = await self.model.predict.remote(batch)
        output = {"name": "y", "datatype": "FP32", "shape": list(answer.shape), "data": answer.ravel().tolist()}
        return {"model_name": "mlp", "model_version": "1", "outputs": [output]}


def main() -> None:
    """Serves until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="the ONNX file")
    parser.add_argument("--port", type=int, required=True, help="where Ray Serve's HTTP proxy listens")
    parser.add_argument("--folder", required=True, help="where Ray keeps its files")
    parser.add_argument("--threads", type=int, default=1, help="intra-op threads of ONNX Runtime")
    parser.add_argument("--ongoing", type=int, default=5, help="max_ongoing_requests of both deployments")
    options = parser.parse_args()
    ray.init(
        address="local",
        # As onegate's own local Ray has it, so that two deployments and the proxy also fit on one core.
        num_cpus=2 * (os.cpu_count() or 1),
        include_dashboard=False,
        log_to_driver=False,
        _temp_dir=options.folder,
    )
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    try:
        serve.start(http_options={"host": "127.0.0.1", "port": options.port})
        limit = {"max_ongoing_requests": options.ongoing}
        model = Model.options(**limit).bind(options.model, options.threads)  # type: ignore[attr-defined]  # decorator
        serve.run(Ingress.options(**limit).bind(model))  # type: ignore[attr-defined]
        ended.wait()
    finally:
        serve.shutdown()
        ray.shutdown()


if __name__ == "__main__":
    main()
