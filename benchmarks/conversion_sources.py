"""What the conversion benchmark converts: for each source a script that builds it, and one that exports it as the users
of its framework do.

Scripts, because each runs in a fresh process: `sys.argv[1]` is the source, `sys.argv[2]` the ONNX file.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

ENVIRONMENT = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}


@dataclass(frozen=True)
class ConversionSource:
    """A source of the benchmark."""

    name: str
    file: str
    exporter: str
    build: str
    export: str


_TORCH_EXPORT = """
import sys, torch
program = torch.export.load(sys.argv[1])
torch.onnx.export(program, f=sys.argv[2], dynamo=True, verbose=False, external_data=False)
"""
_KERAS_EXPORT = """
import sys, keras
model = keras.saving.load_model(sys.argv[1], compile=False)
model(keras.ops.zeros((1, *model.input_shape[1:])))  # it refuses to export one that was never called
model.export(sys.argv[2], format="onnx", verbose=False)
"""
_SKLEARN_EXPORT = """
import sys, skops.io, skl2onnx
from skl2onnx.common.data_types import FloatTensorType
model = skops.io.load(sys.argv[1], trusted=skops.io.get_untrusted_types(file=sys.argv[1]))
proto = skl2onnx.to_onnx(model, initial_types=[("input", FloatTensorType([None, model.n_features_in_]))])
open(sys.argv[2], "wb").write(proto.SerializeToString())
"""

SOURCES = (
    ConversionSource(
        "mlp-pt2",
        "model.pt2",
        "torch.onnx.export",
        """
import sys, torch
from torch import nn
model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4)).eval()
batch = torch.export.Dim("batch")
torch.export.save(torch.export.export(model, (torch.randn(2, 16),), dynamic_shapes=({0: batch},)), sys.argv[1])
""",
        _TORCH_EXPORT,
    ),
    ConversionSource(
        "resnet18-pt2",
        "model.pt2",
        "torch.onnx.export",
        """
import sys, torch
from transformers import ResNetConfig, ResNetForImageClassification
config = ResNetConfig(layer_type="basic", hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2], return_dict=False)
model = ResNetForImageClassification(config).eval()
batch = torch.export.Dim("batch")
program = torch.export.export(model, (torch.randn(2, 3, 224, 224),), dynamic_shapes={"pixel_values": {0: batch}})
torch.export.save(program, sys.argv[1])
""",
        _TORCH_EXPORT,
    ),
    ConversionSource(
        "bert-small-pt2",
        "model.pt2",
        "torch.onnx.export",
        """
import sys, torch
from transformers import BertConfig, BertModel
size = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 1024}
model = BertModel(BertConfig(**size, return_dict=False)).eval()
batch = torch.export.Dim("batch")
words = torch.randint(0, 100, (2, 16))
program = torch.export.export(model, (words,), dynamic_shapes={"input_ids": {0: batch}})
torch.export.save(program, sys.argv[1])
""",
        _TORCH_EXPORT,
    ),
    ConversionSource(
        "mobilenet-keras",
        "model.keras",
        "model.export(format='onnx')",
        """
import sys, keras
keras.applications.MobileNetV2(weights=None, input_shape=(96, 96, 3), alpha=0.5).save(sys.argv[1])
""",
        _KERAS_EXPORT,
    ),
    ConversionSource(
        "mlp-savedmodel",
        "model",
        "python -m tf2onnx.convert",
        """
import sys, keras
model = keras.Sequential([keras.Input((16,)), keras.layers.Dense(32, "relu"), keras.layers.Dense(4)])
model.export(sys.argv[1], verbose=False)
""",
        """
import runpy, sys
import keras
keras.src.export.tf2onnx_lib.patch_tf2onnx()
sys.argv = ["tf2onnx.convert", "--saved-model", sys.argv[1], "--output", sys.argv[2], "--opset", "18"]
runpy.run_module("tf2onnx.convert", run_name="__main__")
""",
    ),
    ConversionSource(
        "forest-skops",
        "model.skops",
        "skl2onnx.to_onnx",
        """
import sys, numpy, skops.io
from sklearn.ensemble import RandomForestClassifier
rows = numpy.random.default_rng(0).normal(size=(2000, 20))
skops.io.dump(RandomForestClassifier(100, random_state=0).fit(rows, rows[:, 0] > 0), sys.argv[1])
""",
        _SKLEARN_EXPORT,
    ),
    ConversionSource(
        "lightgbm-txt",
        "model.txt",
        "onnxmltools.convert_lightgbm",
        """
import sys, numpy, lightgbm
rows = numpy.random.default_rng(0).normal(size=(5000, 20))
data = lightgbm.Dataset(rows, rows[:, 0] * 3 + rows[:, 1])
lightgbm.train({"verbose": -1, "num_leaves": 31}, data, 200).save_model(sys.argv[1])
""",
        """
import sys, lightgbm, onnxmltools
from onnxmltools.convert.common.data_types import FloatTensorType
booster = lightgbm.Booster(model_file=sys.argv[1])
proto = onnxmltools.convert_lightgbm(booster, initial_types=[("input", FloatTensorType([None, 20]))])
open(sys.argv[2], "wb").write(proto.SerializeToString())
""",
    ),
)
