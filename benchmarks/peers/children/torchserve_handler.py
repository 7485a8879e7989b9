"""A TorchServe handler around ONNX Runtime: a JSON body of rows, or one row as raw float32."""

import json
import os

import numpy as np
import onnxruntime


class Handler:
    """As https://pytorch.org/serve/custom_service.html documents class handlers."""

    def __init__(self):
        self.initialized = False

    def initialize(self, context):
        """Loads the model of the archive."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ["PEER_THREADS"])
        options.inter_op_num_threads = 1
        path = os.path.join(context.system_properties["model_dir"], "model.onnx")
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.shape = self.session.get_inputs()[0].shape[1:]
        self.initialized = True

    def handle(self, data, context):
        """All requests of the batch in one run."""
        bodies = [row.get("body") or row.get("data") for row in data]
        raw = isinstance(bodies[0], (bytes, bytearray)) and bodies[0][:1] not in (b"{", b"[")
        rows = [self._raw(body) if raw else self._json(body) for body in bodies]
        outputs = self.session.run(["y"], {"x": np.concatenate(rows)})[0]
        return [outputs[i : i + 1].tobytes() if raw else {"y": outputs[i : i + 1].tolist()} for i in range(len(rows))]

    def _json(self, body):
        if isinstance(body, (bytes, bytearray)):
            body = json.loads(body)
        return np.asarray(body["x"], np.float32)

    def _raw(self, body):
        return np.frombuffer(body, np.float32).reshape(1, *self.shape)
