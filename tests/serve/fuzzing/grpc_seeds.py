"""Right calls of every gRPC service: what the fuzzers change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from serve.protocols import health, open_inference, reflection, tensorflow_serving, torchserve
from serve.protocols.torchserve import INFERENCE, MANAGEMENT, OPEN_INFERENCE_SERVICE
from tests.serve.fuzzing.bodies import PICTURES
from tests.serve.fuzzing.inputs import GrpcInput
from tests.serve.fuzzing.models import ALL_KINDS


@dataclass(frozen=True)
class Call:
    """A method and its messages, not serialised yet."""

    method: str
    messages: tuple[Any, ...]

    def serialised(self) -> GrpcInput:
        return GrpcInput(self.method, tuple(message.SerializeToString() for message in self.messages))


# -- Open Inference --------------------------------------------------------------------------------------------------

_Infer = open_inference.ModelInferRequest


def _described(name: str, datatype: str, shape: list[int], **more: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, **more}


_FLOATS = np.array([[1.5, -2]], "<f4").tobytes()
_RAW = _Infer(model_name="double", inputs=[_described("x", "FP32", [1, 2])], raw_input_contents=[_FLOATS])
_TYPED = _Infer(
    model_name="double",
    model_version="3",
    id="a1",
    inputs=[_described("x", "FP32", [2, 2], contents={"fp32_contents": [1.5, -2, 0, 3e8]})],
    outputs=[{"name": "y", "parameters": {"binary_data": {"bool_param": True}}}],
    parameters={"priority": {"int64_param": 1}, "timeout": {"int64_param": 60_000_000}, "own": {"string_param": "a"}},
)
_PEOPLE = _Infer(
    model_name="people",
    inputs=[
        _described("age", "INT64", [1, 1]),
        _described("city", "BYTES", [1, 1]),
        _described("income", "FP32", [1, 1]),
    ],
    raw_input_contents=[bytes(8), b"\x03\0\0\0Ulm", bytes(4)],
)
_PEOPLE_TYPED = _Infer(
    model_name="people",
    inputs=[
        _described("age", "INT64", [1, 1], contents={"int64_contents": [31]}),
        _described("city", "BYTES", [1, 1], contents={"bytes_contents": [b"Ulm"]}),
        _described("income", "FP32", [1, 1], contents={"fp32_contents": [1.5]}),
    ],
)
_CLASSES = _Infer(
    model_name="colours",
    inputs=[_described("data", "FP32", [1, 3, 2, 2], contents={"fp32_contents": list(range(12))})],
    outputs=[{"name": "prob", "parameters": {"classification": {"int64_param": 2}}}],
)


def _kinds() -> Any:
    message = _Infer(model_name="kinds", inputs=[_described(spec.name, spec.datatype, [1, 2]) for spec in ALL_KINDS])
    for spec in ALL_KINDS:
        digits = "".join(filter(str.isdigit, spec.datatype))
        message.raw_input_contents.append(bytes(8 if spec.datatype == "BYTES" else 2 * (int(digits or 8) // 8)))
    return message


_FIXED = _Infer(
    model_name="fixed",
    inputs=[
        _described("v", "FP32", [3], contents={"fp32_contents": [1, 2, 3]}),
        _described("n", "INT64", [], contents={"int64_contents": [7]}),
    ],
)


_ROW = _Infer(
    model_name="echo",
    inputs=[_described(name, "BYTES", [1]) for name in ("body", "content_type", "fields", "headers")],
    raw_input_contents=[b"\6\0\0\0[1, 2]", b"\0\0\0\0", b'\x0d\0\0\0{"x": "WzFd"}', b'\x0c\0\0\0{"x-a": "b"}'],
)


def _v2(method: str, *messages: Any) -> Call:
    return Call(f"{open_inference.SERVICE}/{method}", messages)


V2 = [
    *(_v2("ModelInfer", each) for each in (_RAW, _TYPED, _PEOPLE, _PEOPLE_TYPED, _CLASSES, _kinds(), _FIXED, _ROW)),
    Call(f"{OPEN_INFERENCE_SERVICE}/ModelInfer", (_RAW,)),
    _v2("ModelStreamInfer", _RAW, _TYPED, _PEOPLE),
    _v2("ModelStreamInfer", _TYPED),
    _v2("ModelReady", open_inference.ModelReadyRequest(name="double", version="3")),
    _v2("ModelMetadata", open_inference.ModelMetadataRequest(name="people")),
    _v2("ModelConfig", open_inference.ModelConfigRequest(name="colours")),
    _v2("ModelStatistics", open_inference.ModelStatisticsRequest(name="double", version="3")),
    _v2("ServerLive", open_inference.ServerLiveRequest()),
    _v2("ServerReady", open_inference.ServerReadyRequest()),
    _v2("ServerMetadata", open_inference.ServerMetadataRequest()),
    _v2("RepositoryIndex", open_inference.RepositoryIndexRequest(ready=True)),
    _v2(
        "RepositoryModelLoad",
        open_inference.RepositoryModelLoadRequest(
            model_name="double",
            parameters={
                "config": {"string_param": '{"max_batch_size": 8, "instance_group": [{"count": 2}]}'},
                "file:1/model.onnx": {"bytes_param": b"onnx"},
            },
        ),
    ),
    _v2(
        "RepositoryModelUnload",
        open_inference.RepositoryModelUnloadRequest(
            model_name="double", parameters={"unload_dependents": {"bool_param": True}}
        ),
    ),
    _v2(
        "SystemSharedMemoryRegister", open_inference.SystemSharedMemoryRegisterRequest(name="a", key="/a", byte_size=8)
    ),
    _v2("TraceSetting", open_inference.TraceSettingRequest(model_name="double")),
]

# -- TensorFlow Serving ----------------------------------------------------------------------------------------------

_SPEC = {"name": "double", "version": {"value": 3}, "signature_name": "serving_default"}


def _shape(*sizes: int) -> dict[str, Any]:
    return {"dim": [{"size": size} for size in sizes]}


def _examples(**features: Any) -> dict[str, Any]:
    return {"example_list": {"examples": [{"features": {"feature": features}}]}}


_COLUMNS = {
    "age": {"dtype": 9, "tensor_shape": _shape(1, 1), "int64_val": [31]},
    "city": {"dtype": 7, "tensor_shape": _shape(1, 1), "string_val": [b"Ulm"]},
    "income": {"dtype": 1, "tensor_shape": _shape(1, 1), "float_val": [1.5]},
}
_PERSON = {
    "age": {"int64_list": {"value": [31]}},
    "city": {"bytes_list": {"value": [b"Ulm"]}},
    "income": {"float_list": {"value": [1.5]}},
}
_PIXELS = _examples(data={"float_list": {"value": list(range(12))}})


def _predict(**fields: Any) -> Call:
    return Call(f"{tensorflow_serving.PREDICTION_SERVICE}/Predict", (tensorflow_serving.PredictRequest(**fields),))


def _tensorflow(service: str, method: str, message: Any) -> Call:
    return Call(f"{service}/{method}", (message,))


_PREDICTION, _MODEL = tensorflow_serving.PREDICTION_SERVICE, tensorflow_serving.MODEL_SERVICE
_NUMBERS = {
    "UINT8": 4,
    "INT16": 5,
    "INT8": 6,
    "INT32": 3,
    "INT64": 9,
    "BOOL": 10,
    "BF16": 14,
    "UINT16": 17,
    "FP16": 19,
    "UINT32": 22,
    "UINT64": 23,
    "FP32": 1,
    "FP64": 2,
    "BYTES": 7,
}

TENSORFLOW = [
    _predict(model_spec=_SPEC, inputs={"x": {"dtype": 1, "tensor_shape": _shape(1, 2), "tensor_content": _FLOATS}}),
    _predict(
        model_spec={"name": "double", "version_label": "stable"},
        inputs={"x": {"dtype": 1, "tensor_shape": _shape(3, 2), "float_val": [1.5]}},
        output_filter=["y"],
    ),
    _predict(model_spec={"name": "people"}, inputs=_COLUMNS),
    _predict(
        model_spec={"name": "kinds"},
        inputs={
            spec.name: {"dtype": _NUMBERS[spec.datatype], "tensor_shape": _shape(1, 2), "half_val": [15360]}
            for spec in ALL_KINDS
        },
    ),
    _tensorflow(
        _PREDICTION,
        "Classify",
        tensorflow_serving.ClassificationRequest(model_spec={"name": "colours"}, input=_PIXELS),
    ),
    _tensorflow(
        _PREDICTION,
        "Regress",
        tensorflow_serving.RegressionRequest(
            model_spec={"name": "people"},
            input={
                "example_list_with_context": {
                    "examples": [{"features": {"feature": {"age": _PERSON["age"], "income": _PERSON["income"]}}}],
                    "context": {"features": {"feature": {"city": _PERSON["city"]}}},
                }
            },
        ),
    ),
    _tensorflow(
        _PREDICTION,
        "MultiInference",
        tensorflow_serving.MultiInferenceRequest(
            tasks=[
                {"model_spec": {"name": "people"}, "method_name": "tensorflow/serving/regress"},
                {"model_spec": {"name": "people"}, "method_name": "tensorflow/serving/classify"},
            ],
            input=_examples(**_PERSON),
        ),
    ),
    _tensorflow(
        _PREDICTION,
        "GetModelMetadata",
        tensorflow_serving.GetModelMetadataRequest(model_spec=_SPEC, metadata_field=["signature_def"]),
    ),
    _tensorflow(_MODEL, "GetModelStatus", tensorflow_serving.GetModelStatusRequest(model_spec={"name": "double"})),
    _tensorflow(
        _MODEL,
        "HandleReloadConfigRequest",
        tensorflow_serving.ReloadConfigRequest(
            config={
                "model_config_list": {
                    "config": [
                        {
                            "name": "double",
                            "base_path": "/exports/double",
                            "model_platform": "tensorflow",
                            "model_version_policy": {"specific": {"versions": [1, 3]}},
                            "version_labels": {"stable": 3},
                        },
                        {
                            "name": "new",
                            "base_path": "/exports/new",
                            "model_version_policy": {"latest": {"num_versions": 2}},
                        },
                    ]
                }
            }
        ),
    ),
]

# -- TorchServe ------------------------------------------------------------------------------------------------------


def _predictions(method: str, **fields: Any) -> Call:
    return Call(f"{INFERENCE}.InferenceAPIsService/{method}", (torchserve.PredictionsRequest(**fields),))


def _managed(method: str, message: Any) -> Call:
    return Call(f"{MANAGEMENT}.ManagementAPIsService/{method}", (message,))


TORCHSERVE = [
    _predictions("Predictions", model_name="double", model_version="3", input={"x": b"[1.5, -2]"}),
    _predictions("Predictions", model_name="people", input={"age": b"[31]", "city": b'["Ulm"]', "income": b"[1]"}),
    _predictions("Predictions", model_name="echo", model_version="stable", input={"body": b"\0\1", "data": b"a"}),
    _predictions("Predictions", model_name="colours", input={"data": PICTURES[0][0]}),
    _predictions("StreamPredictions", model_name="double", input={"data": b"[[1, 2], [3, 4]]"}),
    _predictions("StreamPredictions2", model_name="double", input={"x": b"[1, 2]"}, sequence_id="a"),
    Call(f"{INFERENCE}.InferenceAPIsService/Ping", (torchserve.Empty(),)),
    _managed("DescribeModel", torchserve.DescribeModelRequest(model_name="double", model_version="all")),
    _managed("ListModels", torchserve.ListModelsRequest(limit=2, next_page_token=1)),
    _managed(
        "RegisterModel",
        torchserve.RegisterModelRequest(
            url="/exports/new.mar",
            model_name="new",
            batch_size=4,
            initial_workers=2,
            synchronous=True,
            runtime="python",
        ),
    ),
    _managed("ScaleWorker", torchserve.ScaleWorkerRequest(model_name="double", min_worker=2, max_worker=3)),
    _managed("SetDefault", torchserve.SetDefaultRequest(model_name="double", model_version="3")),
    _managed("UnregisterModel", torchserve.UnregisterModelRequest(model_name="double", model_version="4")),
]

# -- the standard services -------------------------------------------------------------------------------------------

_Reflect = reflection.ServerReflectionRequest


_REFLECTED = [
    (_Reflect(host="a", list_services=""),),
    (_Reflect(file_containing_symbol=health.SERVICE), _Reflect()),
    (_Reflect(file_by_filename="tensorflow_serving.proto"),),
    (_Reflect(all_extension_numbers_of_type="inference.ModelInferRequest"),),
    (_Reflect(file_containing_extension={"containing_type": "inference.ModelInferRequest", "extension_number": 1}),),
]


STANDARD = [
    Call(f"{health.SERVICE}/Check", (health.HealthCheckRequest(service=open_inference.SERVICE),)),
    Call(f"{health.SERVICE}/Watch", (health.HealthCheckRequest(),)),
    *(Call(f"{service}/ServerReflectionInfo", messages) for service in reflection.SERVICES for messages in _REFLECTED),
]
