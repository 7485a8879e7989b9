"""What Open Inference over HTTP says of the server and its models: metadata, health, configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from model_store.manifest import Signature, TensorSpec
from serve.dialects.base import HttpReply
from serve.dialects.open_inference import HTTP_EXTENSIONS, SERVER_NAME, platform_of
from serve.dialects.open_inference_config import config_document
from serve.dialects.open_inference_replies import JSON, encode_json
from serve.inference import ModelDescription, ServerDescription
from serve.version import VERSION

UNPACKED = [*JSON, ("cache-control", "no-transform")]
"""Headers of all but inference: tritonclient's `http.aio` lets aiohttp ask for gzip, and unpacks inference only. Triton
compresses nothing else."""


def json_reply(document: Any, status: int = 200) -> HttpReply:
    """The reply that carries a JSON document."""
    return HttpReply(status, encode_json(document), UNPACKED)


def encode_server(action: str, server: ServerDescription) -> HttpReply:
    """Metadata of the server; on the health paths whether it lives or is ready, 400 where it is not."""
    if action == "health/live":
        return json_reply({"live": server.live}, 200 if server.live else 400)
    if action == "health/ready":
        return json_reply({"ready": server.ready}, 200 if server.ready else 400)
    return json_reply({"name": SERVER_NAME, "version": VERSION, "extensions": HTTP_EXTENSIONS})


def encode_model(action: str, model: ModelDescription) -> HttpReply:
    """A model's readiness, configuration or metadata."""
    return json_reply(_DOCUMENTS[action](model))


def _readiness(model: ModelDescription) -> dict[str, Any]:
    return {"name": model.manifest.name, "ready": True}


def _metadata(model: ModelDescription) -> dict[str, Any]:
    manifest = model.manifest
    document = {
        "name": manifest.name,
        "versions": model.versions,
        "platform": platform_of(manifest.runtime),
        **_tensors(manifest.signatures[manifest.default_signature]),
    }
    if len(manifest.signatures) > 1:
        document["signatures"] = {name: _tensors(signature) for name, signature in manifest.signatures.items()}
    return document


_DOCUMENTS: dict[str, Callable[[ModelDescription], dict[str, Any]]] = {
    "models": _metadata,
    "models/ready": _readiness,
    "models/config": config_document,
}


def _tensors(signature: Signature) -> dict[str, Any]:
    return {
        "inputs": [_tensor(spec) for spec in signature.inputs],
        "outputs": [_tensor(spec) for spec in signature.outputs],
    }


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)}
