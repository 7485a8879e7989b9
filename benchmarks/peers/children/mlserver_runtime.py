"""An MLServer runtime around ONNX Runtime, with its numpy codec and adaptive batching."""

import os

import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class OnnxModel(MLModel):
    """As https://mlserver.readthedocs.io documents custom runtimes."""

    async def load(self) -> bool:
        """Loads the model."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ["PEER_THREADS"])
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            self.settings.parameters.uri, options, providers=["CPUExecutionProvider"]
        )
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """One run; MLServer has merged the requests."""
        rows = NumpyCodec.decode_input(payload.inputs[0])
        outputs = self.session.run(["y"], {"x": rows.astype("float32", copy=False)})[0]
        return InferenceResponse(id=payload.id, model_name=self.name, outputs=[NumpyCodec.encode_output("y", outputs)])
