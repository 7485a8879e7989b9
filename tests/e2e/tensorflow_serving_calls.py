"""TensorFlow Serving's own client against an endpoint, as a program: what it was answered goes out as JSON.

`python tensorflow_serving_calls.py HOST:PORT BASE_PATH`; it needs TensorFlow and `tensorflow-serving-api`.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

ROWS = np.array([[1, 2], [3, 4]], np.float32)
TIMEOUT_S = 60


class Calls:
    """The calls of a client program that has one model in mind."""

    def __init__(self, address: str) -> None:
        channel = grpc.insecure_channel(address)
        self._predictions = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(channel)

    def predict(self, model: str, **spec: Any) -> dict[str, Any]:
        request = predict_pb2.PredictRequest()
        request.model_spec.name = model
        if "version" in spec:
            request.model_spec.version.value = spec["version"]
        if "label" in spec:
            request.model_spec.version_label = spec["label"]
        request.inputs["x"].CopyFrom(tf.make_tensor_proto(spec.get("rows", ROWS)))
        answer = self._predictions.Predict(request, TIMEOUT_S)
        return {
            "version": answer.model_spec.version.value,
            "array": tf.make_ndarray(answer.outputs["y"]).tolist(),
            "float_val": list(answer.outputs["y"].float_val),
        }

    def classify(self) -> Any:
        request = classification_pb2.ClassificationRequest(input=self._input())
        request.model_spec.name = "price"
        answer = self._predictions.Classify(request, TIMEOUT_S)
        return [[(each.label, each.score) for each in row.classes] for row in answer.result.classifications]

    def regress(self) -> Any:
        request = regression_pb2.RegressionRequest(input=self._input())
        request.model_spec.name = "price"
        answer = self._predictions.Regress(request, TIMEOUT_S)
        return [each.value for each in answer.result.regressions]

    def several(self) -> Any:
        request = inference_pb2.MultiInferenceRequest(input=self._input())
        for method in ("tensorflow/serving/regress", "tensorflow/serving/classify"):
            task = request.tasks.add(method_name=method)
            task.model_spec.name = "price"
        first, second = self._predictions.MultiInference(request, TIMEOUT_S).results
        return [
            [each.value for each in first.regression_result.regressions],
            [row.classes[0].score for row in second.classification_result.classifications],
        ]

    def metadata(self) -> Any:
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        request.model_spec.name = "price"
        answer = self._predictions.GetModelMetadata(request, TIMEOUT_S)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        assert answer.metadata["signature_def"].Unpack(signatures)
        told = signatures.signature_def["serving_default"]
        return {
            name: [tf.dtypes.as_dtype(info.dtype).name, tf.TensorShape(info.tensor_shape).as_list()]
            for name, info in {**told.inputs, **told.outputs}.items()
        }

    def status(self, model: str) -> Any:
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = model
        names = get_model_status_pb2.ModelVersionStatus.State.Name
        answer = self._models.GetModelStatus(request, TIMEOUT_S)
        return [(each.version, names(each.state)) for each in answer.model_version_status]

    def reload(self, base_path: str) -> Any:
        request = model_management_pb2.ReloadConfigRequest()
        config = request.config.model_config_list.config.add(name="ranker", base_path=base_path)
        config.model_platform = "tensorflow"
        config.model_version_policy.specific.versions.extend([1, 20])
        config.version_labels["stable"] = 1
        answer = self._models.HandleReloadConfigRequest(request, TIMEOUT_S)
        return answer.status.error_code

    def _input(self) -> Any:
        examples = [
            tf.train.Example(
                features=tf.train.Features(feature={"x": tf.train.Feature(float_list=tf.train.FloatList(value=row))})
            )
            for row in ROWS
        ]
        return {"example_list": {"examples": examples}}


def refusal(call: Any, *words: Any, **options: Any) -> Any:
    try:
        return call(*words, **options)
    except grpc.RpcError as error:
        return [error.code().name, error.details()]


def main(address: str, base_path: str) -> None:
    calls = Calls(address)
    told = {
        "predict": calls.predict("price"),
        "filled": calls.predict("price", rows=np.ones((300, 2), np.float32))["array"][-1],
        "unknown": refusal(calls.predict, "nobody"),
        "wrong": refusal(calls.predict, "price", rows=np.ones((1, 3), np.float32)),
        "classify": calls.classify(),
        "regress": calls.regress(),
        "several": calls.several(),
        "metadata": calls.metadata(),
        "status": calls.status("price"),
        "reload": calls.reload(base_path),
        "reloaded": calls.status("ranker"),
        "newest": calls.predict("ranker"),
        "by version": calls.predict("ranker", version=1),
        "by label": calls.predict("ranker", label="stable"),
        "gone": refusal(calls.predict, "price"),
    }
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
