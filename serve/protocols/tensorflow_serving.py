"""Messages of TensorFlow Serving's gRPC services (`tensorflow_serving.proto`) and TensorFlow's own that they carry."""

from __future__ import annotations

from typing import Any

from serve.protocols.pool import load, message_class

PREDICTION_SERVICE = "tensorflow.serving.PredictionService"
MODEL_SERVICE = "tensorflow.serving.ModelService"

load("tensorflow_serving")


def _message(name: str) -> Any:
    return message_class(f"tensorflow.serving.{name}")


TensorProto = message_class("tensorflow.TensorProto")
Example = message_class("tensorflow.Example")

PredictRequest = _message("PredictRequest")
PredictResponse = _message("PredictResponse")
Input = _message("Input")
ClassificationRequest = _message("ClassificationRequest")
ClassificationResponse = _message("ClassificationResponse")
ClassificationResult = _message("ClassificationResult")
RegressionRequest = _message("RegressionRequest")
RegressionResponse = _message("RegressionResponse")
RegressionResult = _message("RegressionResult")
MultiInferenceRequest = _message("MultiInferenceRequest")
MultiInferenceResponse = _message("MultiInferenceResponse")
SignatureDefMap = _message("SignatureDefMap")
GetModelMetadataRequest = _message("GetModelMetadataRequest")
GetModelMetadataResponse = _message("GetModelMetadataResponse")
GetModelStatusRequest = _message("GetModelStatusRequest")
GetModelStatusResponse = _message("GetModelStatusResponse")
ReloadConfigRequest = _message("ReloadConfigRequest")
ReloadConfigResponse = _message("ReloadConfigResponse")
