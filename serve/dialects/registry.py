"""All dialects of the endpoint and of the management port: the one table of them."""

from __future__ import annotations

from typing import Literal

from serve.dialects.api_description import ApiDescription, ManagementDescription
from serve.dialects.base import HttpDialect
from serve.dialects.grpc_base import GrpcService
from serve.dialects.grpc_health import health_service
from serve.dialects.grpc_reflection import reflection_services
from serve.dialects.model_server import Ping, Predictions
from serve.dialects.model_server_models import Models
from serve.dialects.open_inference_http import OpenInferenceHttp
from serve.dialects.open_inference_service import core_service, whole_service
from serve.dialects.plain import Plain
from serve.dialects.tensorflow_serving_grpc import tensorflow_model_service, tensorflow_prediction_service
from serve.dialects.tensorflow_serving_rest import TensorFlowServingRest
from serve.dialects.torchserve_grpc import predictions_service
from serve.dialects.torchserve_grpc_management import management_service
from serve.protocols.torchserve import OPEN_INFERENCE_SERVICE

ModelServer = Literal["torchserve", "mms"]


def http_dialects(model_server: ModelServer) -> list[HttpDialect]:
    """What a gateway's HTTP port speaks."""
    return [
        OpenInferenceHttp(),
        TensorFlowServingRest(),
        Predictions(model_server),
        Ping(model_server),
        Models(model_server),
        Plain(),
        ApiDescription(),
    ]


def management_dialects(model_server: ModelServer) -> list[HttpDialect]:
    """Whose management calls the management port takes."""
    return [OpenInferenceHttp(), Models(model_server), ManagementDescription()]


def grpc_services() -> list[GrpcService]:
    """What a gateway's gRPC port speaks."""
    services = [
        whole_service(),
        core_service(OPEN_INFERENCE_SERVICE),
        predictions_service(),
        tensorflow_prediction_service(),
        tensorflow_model_service(),
        management_service(),
    ]
    names = [service.name for service in services]
    health = health_service(names)
    return [*services, health, *reflection_services([*names, health.name])]
