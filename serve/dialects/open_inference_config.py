"""A model as Triton's `ModelConfig` describes it (protocol: `model_configuration`), for HTTP and gRPC.

The keys are the fields of Triton's model_config.proto; only those that say something here are filled in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from model_store.manifest import TensorSpec
from serve.admission import SignatureCheck
from serve.dialects.open_inference import is_number, platform_of
from serve.inference import ModelDescription

_BACKENDS = {"onnx": "onnxruntime"}
"""Runtime -> what Triton calls it, where that differs."""


def config_document(description: ModelDescription) -> dict[str, Any]:
    """The `ModelConfig` of the model's default signature as plain values: text, numbers, booleans, lists, dicts.

    `max_batch_size` is 0 where the model has no batch dimension; else the `dims` of its tensors leave that out.
    """
    manifest, serve = description.manifest, description.serve
    signature = manifest.signatures[manifest.default_signature]
    batched = SignatureCheck(manifest.name, signature).batched
    document: dict[str, Any] = {
        "name": manifest.name,
        "platform": platform_of(manifest.runtime),
        "backend": _BACKENDS.get(manifest.runtime, manifest.runtime),
        "version_policy": _version_policy(description.versions),
        "max_batch_size": serve.batching.max_batch_size if batched else 0,
        "input": [_tensor(spec, batched) for spec in signature.inputs],
        "output": [_output(spec, batched, manifest.labels) for spec in signature.outputs],
        "instance_group": [{"name": manifest.name, "kind": "KIND_CPU", "count": max(serve.replicas, 1)}],
        "model_transaction_policy": {"decoupled": False},
    }
    if batched and manifest.row_independent:
        document["dynamic_batching"] = {
            "preferred_batch_size": list(serve.batching.preferred),
            "max_queue_delay_microseconds": round(serve.batching.max_delay_ms * 1000),
        }
    if serve.cache_mib:
        document["response_cache"] = {"enable": True}
    return document


def _version_policy(versions: Sequence[str]) -> dict[str, Any]:
    numbers = [int(version) for version in versions if is_number(version)]
    return {"specific": {"versions": numbers}} if len(numbers) > 1 else {"latest": {"num_versions": 1}}


def _tensor(spec: TensorSpec, batched: bool) -> dict[str, Any]:
    shape = list(spec.shape[1:] if batched else spec.shape)
    described: dict[str, Any] = {
        "name": spec.name,
        "data_type": "TYPE_STRING" if spec.datatype == "BYTES" else f"TYPE_{spec.datatype}",
        "dims": shape or [1],
    }
    if not shape:
        # `dims` has to have one at least: the model's own shape stands beside it then.
        described["reshape"] = {"shape": []}
    return described


def _output(spec: TensorSpec, batched: bool, labels: Sequence[str] | None) -> dict[str, Any]:
    described = _tensor(spec, batched)
    if labels is not None and described["dims"] == [len(labels)]:
        described["label_filename"] = "labels.txt"
    return described
