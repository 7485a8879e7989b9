"""Messages of TorchServe's gRPC services (`torchserve_inference.proto`, `torchserve_management.proto`).

Its copy of the Open Inference service (`torchserve_open_inference.proto`) takes the messages of
`serve.protocols.open_inference`, whose bytes are the same.
"""

from __future__ import annotations

from typing import Any

from serve.protocols.pool import load, message_class

INFERENCE = "org.pytorch.serve.grpc.inference"
MANAGEMENT = "org.pytorch.serve.grpc.management"
OPEN_INFERENCE_SERVICE = "org.pytorch.serve.grpc.openinference.GRPCInferenceService"

load("torchserve_inference")
load("torchserve_management")
load("torchserve_open_inference")


def _inference(name: str) -> Any:
    return message_class(f"{INFERENCE}.{name}")


def _management(name: str) -> Any:
    return message_class(f"{MANAGEMENT}.{name}")


Empty = message_class("google.protobuf.Empty")
PredictionsRequest = _inference("PredictionsRequest")
PredictionResponse = _inference("PredictionResponse")
TorchServeHealthResponse = _inference("TorchServeHealthResponse")
DescribeModelRequest = _management("DescribeModelRequest")
ListModelsRequest = _management("ListModelsRequest")
RegisterModelRequest = _management("RegisterModelRequest")
ScaleWorkerRequest = _management("ScaleWorkerRequest")
SetDefaultRequest = _management("SetDefaultRequest")
UnregisterModelRequest = _management("UnregisterModelRequest")
ManagementResponse = _management("ManagementResponse")
