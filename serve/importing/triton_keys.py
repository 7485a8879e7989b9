"""Triton's `config.pbtxt`, key by key: what becomes of each.

The names are those of Triton's public model configuration (`ModelConfig`), as its documentation spells them.
"""

from __future__ import annotations

from serve.importing.base import TAKEN, Fate, needless, without

_MODEL_SAYS = needless("the model says so itself")

KEYS: dict[str, Fate] = {
    "name": TAKEN,
    "platform": TAKEN,
    "backend": TAKEN,
    "runtime": needless("names the library of a backend; a model's framework is told from its content"),
    "version_policy": TAKEN,
    "max_batch_size": TAKEN,
    "default_model_filename": TAKEN,
    "cc_model_filenames": without("builds for kinds of GPU; the default file is served"),
    "input.name": TAKEN,
    "input.data_type": TAKEN,
    "input.dims": TAKEN,
    "input.reshape": without("inputs are not reshaped: clients have to send the model's own shape"),
    "input.format": needless("only checks `dims`"),
    "input.is_shape_tensor": without("only TensorRT has shape tensors"),
    "input.allow_ragged_batch": without("requests of different shapes are kept in batches of their own"),
    "input.optional": without("every input has to be sent"),
    "input.is_non_linear_format_io": without("only TensorRT has such formats"),
    "output.name": TAKEN,
    "output.data_type": _MODEL_SAYS,
    "output.dims": _MODEL_SAYS,
    "output.reshape": without("outputs are not reshaped: clients get the model's own shape"),
    "output.label_filename": TAKEN,
    "output.is_shape_tensor": without("only TensorRT has shape tensors"),
    "output.is_non_linear_format_io": without("only TensorRT has such formats"),
    "batch_input": without("inputs are not made from the batch: clients have to send them"),
    "batch_output": without("outputs are cut apart by rows only"),
    "optimization": without("ONNX Runtime runs with onegate's own settings"),
    "dynamic_batching.preferred_batch_size": TAKEN,
    "dynamic_batching.max_queue_delay_microseconds": TAKEN,
    "dynamic_batching.preserve_ordering": without("answers come when they are ready"),
    "dynamic_batching.priority_levels": needless("requests carry a priority without a number of levels"),
    "dynamic_batching.default_priority_level": without("a request without a priority has the usual one"),
    "dynamic_batching.default_queue_policy.max_queue_size": TAKEN,
    "dynamic_batching.default_queue_policy.default_timeout_microseconds": TAKEN,
    "dynamic_batching.default_queue_policy.timeout_action": TAKEN,
    "dynamic_batching.default_queue_policy.allow_timeout_override": needless("a request may always set its timeout"),
    "dynamic_batching.priority_queue_policy": without("all priorities share one queue and one limit"),
    "sequence_batching": TAKEN,
    "ensemble_scheduling": TAKEN,
    "instance_group.name": needless("replicas have names of their own"),
    "instance_group.kind": TAKEN,
    "instance_group.count": TAKEN,
    "instance_group.gpus": without("models run on CPUs; there is no key for GPUs"),
    "instance_group.rate_limiter": without("models share the machine by fair queues"),
    "instance_group.secondary_devices": without("models run on CPUs"),
    "instance_group.profile": without("only TensorRT has profiles"),
    "instance_group.passive": without("every replica answers"),
    "instance_group.host_policy": without("Ray places replicas"),
    "metric_tags": without("metrics have the labels model and version only"),
    "parameters": without("a backend's parameter"),
    "model_warmup": without("a version is not run with given data before it is called"),
    "model_operations": without("libraries of custom operators are not loaded"),
    "model_transaction_policy.decoupled": without("a request has one answer"),
    "model_repository_agents": without("files are taken as they are"),
    "response_cache.enable": TAKEN,
    "model_metrics": without("metrics have fixed buckets"),
}

DATATYPES = (
    *("INVALID", "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32"),
    *("FP64", "BYTES", "BF16"),
)
"""In the order of Triton's numbers; its name `TYPE_STRING` is BYTES on the wire."""

FILES: dict[str, tuple[str, ...]] = {
    "onnxruntime": ("model.onnx",),
    "pytorch": ("model.pt", "model.pt2"),
    "tensorflow": ("model.savedmodel", "model.graphdef"),
    "fil": ("xgboost.json", "xgboost.ubj", "xgboost.model", "model.txt"),
}
"""Backend -> the names that it looks for in a version's folder."""

PLATFORMS = {
    "onnxruntime_onnx": "onnxruntime",
    "pytorch_libtorch": "pytorch",
    "tensorflow_savedmodel": "tensorflow",
    "tensorflow_graphdef": "tensorflow",
    "tensorrt_plan": "tensorrt",
    "ensemble": "ensemble",
}
"""The older spelling -> backend."""

_ENSEMBLE = "an ensemble of models; call them one by one, or export the whole as one model"
_TENSORRT = "a TensorRT plan holds no model that can be read; import what it was built from"
_PYTHON = "a script for Triton's python backend; pack it as an archive with a handler (`onegate archive pack`)"
_OPENVINO = "OpenVINO's format; import what it was made from"
_DALI = "a DALI pipeline; a `processor` serves pictures"

REFUSED_BACKENDS = {
    "ensemble": _ENSEMBLE,
    "tensorrt": _TENSORRT,
    "python": _PYTHON,
    "openvino": _OPENVINO,
    "dali": _DALI,
    "vllm": "a language model served by vLLM; leave it to vLLM",
    "tensorrtllm": "a language model served by TensorRT-LLM; leave it to Triton",
    "treelite": "Treelite's checkpoint; import the booster that it was made from",
}
REFUSED_FILES = {
    "model.plan": _TENSORRT,
    "model.py": _PYTHON,
    "model.xml": _OPENVINO,
    "model.dali": _DALI,
    "checkpoint.tl": REFUSED_BACKENDS["treelite"],
    "model.netdef": "Caffe2's format; import what it was made from",
}
"""A file in a version's folder that Triton serves and onegate can't -> why."""
