"""Exports for the end-to-end tests, each written by a process of its own: `write(name, path)`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPTS = {
    # A SavedModel of two signatures, one of them with text.
    "savedmodel": """
import sys, tensorflow as tf
class Model(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def scale(self, x):
        return {"y": x * 2.0}
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def upper(self, text):
        return {"loud": tf.strings.upper(text)}
model = Model()
tf.saved_model.save(model, sys.argv[1], signatures={"serving_default": model.scale, "upper": model.upper})
""",
    # TorchScript, traced.
    "torchscript": """
import sys, torch
torch.manual_seed(0)
layer = torch.nn.Linear(4, 2).eval()
with torch.no_grad():
    layer.weight.copy_(torch.tensor([[1.0, 2, 3, 4], [0, 1, 0, 1]])); layer.bias.zero_()
torch.jit.trace(layer, torch.zeros(1, 4)).save(sys.argv[1])
""",
    # TorchScript: the mean of each channel of a picture.
    "channel_means": """
import sys, torch
net = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()).eval()
torch.jit.trace(net, torch.rand(1, 3, 224, 224)).save(sys.argv[1])
""",
    # The same as ONNX.
    "channel_means_onnx": """
import sys, onnx
from onnx import TensorProto, helper
pool, flatten = (helper.make_node(op, [x], [y]) for op, x, y in (("GlobalAveragePool", "image", "means"),
                                                                ("Flatten", "means", "scores")))
graph = helper.make_graph(
    [pool, flatten],
    "means",
    [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 224, 224])],
    [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 3])],
)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), sys.argv[1])
""",
    # A pickle by joblib.
    "joblib": """
import sys, joblib, numpy
from sklearn.linear_model import LinearRegression
rows = numpy.eye(3)
joblib.dump(LinearRegression(fit_intercept=False).fit(rows, [1.0, 2.0, 3.0]), sys.argv[1])
""",
    # The step model of XGBoost: 1 for x < 0.5, 2 otherwise.
    "xgboost": """
import sys, numpy, xgboost
rows = numpy.linspace(0, 1, 64, dtype="float32")[:, None]
data = xgboost.DMatrix(rows, 1.0 + (rows[:, 0] >= 0.5))
settings = {"base_score": 0.0, "eta": 1.0, "lambda": 0.0, "max_depth": 1}
xgboost.train(settings, data, 1).save_model(sys.argv[1])
""",
}


def write(name: str, path: Path) -> Path:
    """Runs the script of that name, which writes the export to `path`."""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPTS[name], str(path)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return path
