"""A model of Triton's python backend: the ONNX file beside it, requests of one call in one batch."""

import os
import sys

# The backend's stub looks into the interpreter it was built for, not into the environment that it is installed in.
sys.path.insert(0, os.environ["PEER_SITE_PACKAGES"])

import numpy as np
import onnxruntime
import triton_python_backend_utils as backend


class TritonPythonModel:
    """As https://github.com/triton-inference-server/python_backend documents it."""

    def initialize(self, args):
        """Loads the model."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ["PEER_THREADS"])
        options.inter_op_num_threads = 1
        path = os.path.join(os.path.dirname(__file__), "model.onnx")
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def execute(self, requests):
        """One run for all requests of the call."""
        inputs = [backend.get_input_tensor_by_name(request, "x").as_numpy() for request in requests]
        batch = np.concatenate(inputs) if len(inputs) > 1 else inputs[0]
        outputs = self.session.run(["y"], {"x": batch})[0]
        answers, start = [], 0
        for rows in inputs:
            tensor = backend.Tensor("y", outputs[start : start + len(rows)])
            answers.append(backend.InferenceResponse([tensor]))
            start += len(rows)
        return answers
