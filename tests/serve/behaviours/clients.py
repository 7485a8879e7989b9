"""The clients that the table of behaviours speaks of: what each sends for an attempt, and where."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from serve.protocols import open_inference, tensorflow_serving, torchserve
from tests.serve.behaviours.attempts import JSON, Attempt, Body, GrpcClient, HttpClient

MODEL_SERVER = {
    "pragma": "no-cache",
    "cache-control": "no-cache; no-store, must-revalidate, private",
    "expires": "Thu, 01 Jan 1970 00:00:00 UTC",
}
MODEL_SERVER_ERROR = {**JSON, "connection": "close"}

# -- bodies of HTTP --------------------------------------------------------------------------------------------------


def v2_json(attempt: Attempt) -> Body:
    data = [value for row in attempt.values for value in row]
    return json.dumps({"inputs": [_described(attempt) | {"data": data}]}).encode(), {}


def v2_binary(attempt: Attempt) -> Body:
    raw = _raw(attempt)
    described = _described(attempt) | {"parameters": {"binary_data_size": len(raw)}}
    header = json.dumps({"inputs": [described], "parameters": {"binary_data_output": True}}).encode()
    length = len(header) if attempt.body is None else len(attempt.body)
    return header + raw, {"Inference-Header-Content-Length": str(length)}


def _described(attempt: Attempt) -> dict[str, Any]:
    return {"name": attempt.name, "shape": _shape(attempt), "datatype": attempt.datatype}


def instances(attempt: Attempt) -> Body:
    return json.dumps({"instances": [{attempt.name: row} for row in attempt.values]}).encode(), {}


def columns(attempt: Attempt) -> Body:
    """JSON values by name, as the built-in processors and `/predict` read them."""
    return json.dumps({attempt.name: attempt.values}).encode(), {"Content-Type": "application/json"}


def _shape(attempt: Attempt) -> list[int]:
    return [len(attempt.values), len(attempt.values[0])]


def _raw(attempt: Attempt) -> bytes:
    values = [value for row in attempt.values for value in row]
    if attempt.datatype == "BYTES":
        return b"".join(len(value).to_bytes(4, "little") + value.encode() for value in values)
    return np.array(values, "<f4").tobytes()


# -- messages of gRPC ------------------------------------------------------------------------------------------------


def v2_message(attempt: Attempt) -> Any:
    message = open_inference.ModelInferRequest(model_name=attempt.model, model_version=attempt.version or "")
    message.inputs.add(**_described(attempt))
    message.raw_input_contents.append(_raw(attempt))
    return message


def v2_read(reply: Any) -> Any:
    (output,), (raw,) = reply.outputs, reply.raw_output_contents
    described = {"name": output.name, "datatype": output.datatype, "shape": list(output.shape)}
    data = np.frombuffer(raw, "<f4").tolist()
    return {
        "model_name": reply.model_name,
        "model_version": reply.model_version,
        "outputs": [described | {"data": data}],
    }


def tensorflow_message(attempt: Attempt) -> Any:
    message = tensorflow_serving.PredictRequest(model_spec={"name": attempt.model})
    if attempt.version:
        message.model_spec.version.value = int(attempt.version)
    tensor = message.inputs[attempt.name]
    for size in _shape(attempt):
        tensor.tensor_shape.dim.add(size=size)
    if attempt.datatype == "BYTES":
        tensor.dtype = 7
        tensor.string_val.extend(value.encode() for row in attempt.values for value in row)
    else:
        tensor.dtype = 1
        tensor.tensor_content = _raw(attempt)
    return message


def tensorflow_read(reply: Any) -> Any:
    outputs = {name: list(tensor.float_val) for name, tensor in reply.outputs.items()}
    return {"outputs": outputs, "version": reply.model_spec.version.value}


def torchserve_message(attempt: Attempt) -> Any:
    body = json.dumps(attempt.values).encode()
    return torchserve.PredictionsRequest(
        model_name=attempt.model, model_version=attempt.version or "", input={attempt.name: body}
    )


def torchserve_read(reply: Any) -> Any:
    return json.loads(reply.prediction)


# -- all of them -----------------------------------------------------------------------------------------------------

CLIENTS: dict[str, HttpClient | GrpcClient] = {
    "v2 JSON": HttpClient(
        "/v2/models/{model}{version}/infer",
        v2_json,
        "/v2/models/double/infer/again",
        version="/versions/{}",
        manage=("POST", "/v2/repository/models/double/unload"),
    ),
    "v2 binary": HttpClient(
        "/v2/models/{model}{version}/infer",
        v2_binary,
        "/v2/models/double/infer/again",
        version="/versions/{}",
    ),
    "v2 gRPC": GrpcClient(
        f"{open_inference.SERVICE}/ModelInfer",
        v2_message,
        open_inference.ModelInferResponse,
        v2_read,
        (
            f"{open_inference.SERVICE}/RepositoryModelUnload",
            open_inference.RepositoryModelUnloadRequest(model_name="double"),
        ),
    ),
    "TF Serving REST": HttpClient(
        "/v1/models/{model}{version}:predict",
        instances,
        "/v1/models/double:explain",
        version="/versions/{}",
    ),
    "TF Serving gRPC": GrpcClient(
        f"{tensorflow_serving.PREDICTION_SERVICE}/Predict",
        tensorflow_message,
        tensorflow_serving.PredictResponse,
        tensorflow_read,
        (
            f"{tensorflow_serving.MODEL_SERVICE}/HandleReloadConfigRequest",
            tensorflow_serving.ReloadConfigRequest(config={"model_config_list": {}}),
        ),
    ),
    "TorchServe": HttpClient(
        "/predictions/{model}{version}",
        columns,
        "/predictions",
        version="/{}",
        manage=("DELETE", "/models/double"),
        always=MODEL_SERVER,
        refused=MODEL_SERVER_ERROR,
    ),
    "TorchServe gRPC": GrpcClient(
        f"{torchserve.INFERENCE}.InferenceAPIsService/Predictions",
        torchserve_message,
        torchserve.PredictionResponse,
        torchserve_read,
        (
            f"{torchserve.MANAGEMENT}.ManagementAPIsService/UnregisterModel",
            torchserve.UnregisterModelRequest(model_name="double"),
        ),
    ),
    "MMS": HttpClient(
        "/predictions/{model}",
        columns,
        "/predictions",
        manage=("DELETE", "/models/double"),
        port="mms",
        always=MODEL_SERVER,
        refused=MODEL_SERVER_ERROR,
    ),
    "SageMaker": HttpClient(
        "/invocations?model_name={model}",
        columns,
        "/invocations/double",
        port="mms",
        always=MODEL_SERVER,
        refused=MODEL_SERVER_ERROR,
    ),
    "SageMaker, many": HttpClient(
        "/models/{model}/invoke",
        columns,
        "/models/double/invoke/again",
        manage=("POST", "/models?model_name=ab12&url=/opt/ml/models/ab12/model"),
        port="mms",
        always=MODEL_SERVER,
        refused=MODEL_SERVER_ERROR,
    ),
    "plain": HttpClient("/predict/{model}{version}", columns, "/predict", version="/{}"),
}
