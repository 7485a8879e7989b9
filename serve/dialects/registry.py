"""All dialects of the endpoint and of the management port: the one table of them."""

from __future__ import annotations

from typing import Literal

from serve.dialects.base import HttpDialect
from serve.dialects.grpc_base import GrpcService
from serve.dialects.model_server import Ping, Predictions
from serve.dialects.open_inference_http import OpenInferenceHttp
from serve.dialects.open_inference_service import core_service

ModelServer = Literal["torchserve", "mms"]


def http_dialects(model_server: ModelServer) -> list[HttpDialect]:
    """What a gateway's HTTP port speaks."""
    return [OpenInferenceHttp(), Predictions(), Ping()]


def management_dialects(model_server: ModelServer) -> list[HttpDialect]:
    """Whose management calls the management port takes."""
    return [OpenInferenceHttp()]


def grpc_services() -> list[GrpcService]:
    """What a gateway's gRPC port speaks."""
    return [core_service()]
