"""What Open Inference's gRPC service says of the server and its models: protobuf messages of questions and answers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from model_store.errors import InvalidInput
from model_store.manifest import TensorSpec
from serve.dialects.open_inference import EXTENSIONS, SERVER_NAME, platform_of
from serve.dialects.open_inference_config import config_document
from serve.dialects.open_inference_grpc import NO_MODEL, plain_parameters
from serve.dialects.open_inference_repository import index_document, load_operation, unload_operation
from serve.dialects.open_inference_statistics import statistics_document
from serve.inference import ModelDescription, ModelQuery, Statistics, StatisticsQuery
from serve.operations import LoadModel, ModelList, UnloadModel
from serve.protocols import open_inference as messages
from serve.routing import version_or_label
from serve.version import VERSION


def decode_model_query(message: Any) -> ModelQuery:
    """The question in a `ModelReadyRequest`, `ModelMetadataRequest` or `ModelConfigRequest`.

    Raises `InvalidInput` where it names no model.
    """
    return ModelQuery(_named(message.name), *version_or_label(message.version))


def encode_model(description: ModelDescription) -> Any:
    """A `ModelMetadataResponse`, of the default signature."""
    manifest = description.manifest
    signature = manifest.signatures[manifest.default_signature]
    return messages.ModelMetadataResponse(
        name=manifest.name,
        versions=description.versions,
        platform=platform_of(manifest.runtime),
        inputs=_metadata(signature.inputs),
        outputs=_metadata(signature.outputs),
    )


def encode_config(description: ModelDescription) -> Any:
    """A `ModelConfigResponse`."""
    return messages.ModelConfigResponse(config=config_document(description))


def encode_server() -> Any:
    """A `ServerMetadataResponse`."""
    return messages.ServerMetadataResponse(name=SERVER_NAME, version=VERSION, extensions=EXTENSIONS)


def decode_statistics_query(message: Any) -> StatisticsQuery:
    """The question in a `ModelStatisticsRequest`: without a name it is about all models."""
    return StatisticsQuery(message.name or None, message.version or None)


def encode_statistics(statistics: Statistics) -> Any:
    """A `ModelStatisticsResponse`."""
    return messages.ModelStatisticsResponse(model_stats=statistics_document(statistics))


def encode_index(listed: ModelList, only_ready: bool) -> Any:
    """A `RepositoryIndexResponse`."""
    return messages.RepositoryIndexResponse(models=index_document(listed, only_ready=only_ready))


def decode_load(message: Any) -> LoadModel:
    """The operation in a `RepositoryModelLoadRequest`; raises `InvalidInput` and `ConfigError`."""
    return load_operation(_named(message.model_name), plain_parameters(message.parameters))


def decode_unload(message: Any) -> UnloadModel:
    """The operation in a `RepositoryModelUnloadRequest`; raises `InvalidInput`."""
    return unload_operation(_named(message.model_name), plain_parameters(message.parameters))


def _named(name: str) -> str:
    if not name:
        raise InvalidInput(NO_MODEL)
    return name


def _metadata(specs: Iterable[TensorSpec]) -> list[Any]:
    kind = messages.ModelMetadataResponse.TensorMetadata
    return [kind(name=spec.name, datatype=spec.datatype, shape=spec.shape) for spec in specs]
