"""A BentoML service with adaptive batching: one endpoint for JSON, or one for raw float32."""

import os

import bentoml
import numpy as np
import onnxruntime

THREADS = int(os.environ["PEER_THREADS"])
BATCH = int(os.environ["PEER_BATCH"])
PATH = os.environ["PEER_MODEL"]


def _session():
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(PATH, options, providers=["CPUExecutionProvider"])


@bentoml.service(workers=1, traffic={"timeout": 60, "max_concurrency": 1000})
class Peer:
    """As https://docs.bentoml.com documents adaptive batching."""

    def __init__(self) -> None:
        self.session = _session()

    @bentoml.api(batchable=True, max_batch_size=BATCH, max_latency_ms=60_000)
    def predict(self, x: np.ndarray) -> np.ndarray:
        """Rows in, rows out."""
        return self.session.run(["y"], {"x": x.astype(np.float32, copy=False)})[0]
