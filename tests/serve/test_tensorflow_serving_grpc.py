"""TensorFlow Serving's gRPC services on a real socket, over models that were never TensorFlow's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from model_store.errors import Forbidden
from model_store.manifest import Signature
from serve.dialects.tensorflow_examples import reader_of
from serve.dialects.tensorflow_models import version_number
from serve.dialects.tensorflow_serving_grpc import tensorflow_model_service, tensorflow_prediction_service
from serve.front_doors.grpc import GrpcFrontDoor
from serve.inference import Answer, InferenceRequest, Query
from serve.operations import ListModels, ModelList, Operation, ReplaceModels
from serve.protocols import tensorflow_serving as messages
from tests.serve.grpc_channels import UNLIMITED
from tests.serve.tensorflow_serving_models import dispatcher, tensor

CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"


class Endpoint:
    """A gateway's answers without a controller: it remembers the operations that would go there."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.deadline: float | None = None
        self.managed = True
        self._dispatcher = dispatcher()

    async def answer(self, query: Query) -> Answer:
        if isinstance(query, InferenceRequest):
            self.deadline = query.deadline
        if not isinstance(query, Operation):
            return await self._dispatcher.answer(query)
        if not self.managed:
            raise Forbidden("calls that manage models answer on the management port")
        self.operations.append(query)
        return ModelList()


class Client:
    """Calls by method's name, over one channel."""

    def __init__(self, channel: Any, endpoint: Endpoint) -> None:
        self._channel = channel
        self.endpoint = endpoint

    async def call(self, method: str, message: Any) -> Any:
        service = messages.MODEL_SERVICE if method in SERVED_BY_MODELS else messages.PREDICTION_SERVICE
        stub = self._channel.unary_unary(
            f"/{service}/{method}",
            request_serializer=lambda each: each.SerializeToString(),
            response_deserializer=REPLIES[method].FromString,
        )
        return await stub(message, timeout=10)

    async def refusal(self, method: str, message: Any) -> tuple[str, str]:
        """Code and text of a call that fails."""
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await self.call(method, message)
        return refused.value.code().name, refused.value.details() or ""


SERVED_BY_MODELS = ("GetModelStatus", "HandleReloadConfigRequest")
REPLIES = {
    "Predict": messages.PredictResponse,
    "Classify": messages.ClassificationResponse,
    "Regress": messages.RegressionResponse,
    "MultiInference": messages.MultiInferenceResponse,
    "GetModelMetadata": messages.GetModelMetadataResponse,
    "GetModelStatus": messages.GetModelStatusResponse,
    "HandleReloadConfigRequest": messages.ReloadConfigResponse,
}


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    endpoint = Endpoint()
    door = GrpcFrontDoor([tensorflow_prediction_service(), tensorflow_model_service()], endpoint.answer)
    [port] = await door.start(["127.0.0.1:0"])
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=UNLIMITED) as channel:
            yield Client(channel, endpoint)
    finally:
        await door.stop(0)


def predict(model: str = "double", inputs: Mapping[str, Any] | None = None, **spec: Any) -> Any:
    message = messages.PredictRequest(model_spec=spec_of(model, **spec))
    for name, given in (inputs or {"x": floats([[1.5, -2]])}).items():
        message.inputs[name].CopyFrom(given)
    return message


def spec_of(model: str = "double", version: int | None = None, **more: Any) -> dict[str, Any]:
    return {"name": model, **more} | ({} if version is None else {"version": {"value": version}})


def floats(values: Any) -> Any:
    array = np.array(values, np.float32)
    message = messages.TensorProto(dtype=1, tensor_content=array.tobytes())
    for size in array.shape:
        message.tensor_shape.dim.add(size=size)
    return message


def examples(*rows: Mapping[str, list[float]], context: Mapping[str, list[int]] | None = None) -> Any:
    """An `Input` with float features a row, and whole numbers as context."""
    message = messages.Input()
    listed = message.example_list if context is None else message.example_list_with_context
    for row in rows:
        example = listed.examples.add()
        for name, values in row.items():
            example.features.feature[name].float_list.value.extend(values)
    for name, numbers in (context or {}).items():
        message.example_list_with_context.context.features.feature[name].int64_list.value.extend(numbers)
    return message


# -- predict ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [{}, {"version": 3}, {"version_label": "stable"}, {"signature_name": "other"}])
async def test_a_prediction_is_answered_with_typed_values(client: Client, spec: dict[str, Any]) -> None:
    answer = await client.call("Predict", predict(**spec))
    assert list(answer.outputs) == ["y"]
    output = answer.outputs["y"]
    assert (output.dtype, [dim.size for dim in output.tensor_shape.dim]) == (1, [1, 2])
    assert (list(output.float_val), output.tensor_content) == ([3.0, -4.0], b"")
    assert (answer.model_spec.name, answer.model_spec.version.value) == ("double", 3)
    assert answer.model_spec.signature_name == spec.get("signature_name", "serving_default")
    assert client.endpoint.deadline is not None


async def test_outputs_of_all_kinds_can_be_filtered(client: Client) -> None:
    numbers = messages.TensorProto(dtype=9, int64_val=[1, 0])
    for size in (1, 2):
        numbers.tensor_shape.dim.add(size=size)
    message = predict("pair", {"a": floats([0.5]), "b": numbers})
    answer = await client.call("Predict", message)
    assert {name: list(each.bool_val or each.float_val) for name, each in answer.outputs.items()} == {
        "sum": [1.5],
        "flags": [True, False],
    }
    message.output_filter.append("sum")
    assert list((await client.call("Predict", message)).outputs) == ["sum"]
    message.output_filter.append("nothing")
    assert await client.refusal("Predict", message) == (
        "INVALID_ARGUMENT",
        "model 'pair' has no output 'nothing'; outputs: sum, flags",
    )


async def test_text_and_half_precision_travel(client: Client) -> None:
    text = messages.TensorProto(dtype=7, string_val=[b"a", b"\xff"])
    text.tensor_shape.dim.add(size=2)
    answer = await client.call("Predict", predict("echo", {"s": text}))
    assert list(answer.outputs["text"].string_val) == [b"a", b"\xff"]
    half = messages.TensorProto(dtype=19, half_val=[0x3E00, 0xC000])
    for size in (1, 2):
        half.tensor_shape.dim.add(size=size)
    answer = await client.call("Predict", predict("half", {"x": half}))
    assert list(answer.outputs["y"].half_val) == [0x3E00, 0xC000]


async def test_fields_of_streams_and_logs_are_passed_over(client: Client) -> None:
    newer = b"\x2a\x02\x08\x01" + b"\x32\x01a" + b"\x3a\x00"  # fields 5, 6 and 7
    message = messages.PredictRequest.FromString(predict().SerializeToString() + newer)
    assert list((await client.call("Predict", message)).outputs["y"].float_val) == [3.0, -4.0]


WRONG = [
    (messages.PredictRequest(), "INVALID_ARGUMENT", "expected a model_spec with the name of a model, got none"),
    (predict("nobody"), "NOT_FOUND", "Servable not found for request: Latest(nobody)"),
    (predict(version=0), "NOT_FOUND", "Servable not found for request: Specific(double, 0)"),
    (predict(version_label="beta"), "INVALID_ARGUMENT", "Unrecognized servable version label: beta"),
    (
        predict(signature_name="no"),
        "INVALID_ARGUMENT",
        "model 'double' has no signature 'no'; signatures: serving_default, other",
    ),
    (predict("loading"), "UNAVAILABLE", "model 'loading' can't be called now: it is loading; try again shortly"),
    (
        predict(inputs={"z": floats([[1, 2]])}),
        "INVALID_ARGUMENT",
        "model 'double' takes the inputs 'x': FP32[*,2]; got 'z'",
    ),
    (predict(inputs={"x": floats([1, 2])}), "INVALID_ARGUMENT", "input 'x': expected FP32[*,2], got FP32[2]"),
    (
        predict(inputs={"x": messages.TensorProto(dtype=8)}),
        "INVALID_ARGUMENT",
        "input 'x': tensors of DT_COMPLEX64 are not taken",
    ),
]


@pytest.mark.parametrize(("message", "code", "text"), WRONG)
async def test_a_wrong_prediction_is_refused(client: Client, message: Any, code: str, text: str) -> None:
    assert await client.refusal("Predict", message) == (code, text)


# -- classify, regress, several tasks --------------------------------------------------------------------------------


def classes(result: Any) -> list[list[tuple[str, float]]]:
    return [[(each.label, each.score) for each in row.classes] for row in result.classifications]


async def test_classify_tells_label_and_score_of_every_class(client: Client) -> None:
    message = messages.ClassificationRequest(
        model_spec=spec_of(), input=examples({"x": [1, 2]}, {"x": [0.25, -1], "more": [1]})
    )
    answer = await client.call("Classify", message)
    assert classes(answer.result) == [[("cat", 2.0), ("dog", 4.0)], [("cat", 0.5), ("dog", -2.0)]]
    assert (answer.model_spec.name, answer.model_spec.version.value) == ("double", 3)


async def test_regress_tells_a_value_a_row_and_context_is_of_all_examples(client: Client) -> None:
    given = examples({"a": [1]}, {"a": [2.5]}, context={"b": [1, 0]})
    answer = await client.call("Regress", messages.RegressionRequest(model_spec=spec_of("pair"), input=given))
    assert [each.value for each in answer.result.regressions] == [2.0, 3.5]


def test_a_model_of_texts_gets_the_examples_themselves() -> None:
    read = reader_of(examples({"x": [1.5]}, {"x": [2]}, context={"b": [7]}))
    rows = read(Signature((tensor("examples", "BYTES"),), ()))["examples"]
    parsed = [messages.Example.FromString(row).features.feature for row in rows]
    assert [list(each["x"].float_list.value) for each in parsed] == [[1.5], [2.0]]
    assert [list(each["b"].int64_list.value) for each in parsed] == [[7], [7]]


async def test_scores_are_floating_numbers(client: Client) -> None:
    message = messages.ClassificationRequest(model_spec=spec_of("echo"), input=examples({"x": [1]}))
    assert await client.refusal("Classify", message) == (
        "INVALID_ARGUMENT",
        "model 'echo' has no output of floating numbers to make classes of; call predict",
    )


async def test_an_input_without_examples_is_refused(client: Client) -> None:
    for given in (messages.Input(), examples(), examples(context={"x": [1]})):
        message = messages.RegressionRequest(model_spec=spec_of("price"), input=given)
        assert await client.refusal("Regress", message) == (
            "INVALID_ARGUMENT",
            "expected an input with at least one example, got none",
        )


def tasks(*wanted: tuple[str, str, str]) -> Any:
    message = messages.MultiInferenceRequest(input=examples({"x": [1.5, 2]}))
    for model, signature, method in wanted:
        message.tasks.add(model_spec=spec_of(model, signature_name=signature), method_name=method)
    return message


async def test_several_tasks_share_their_examples(client: Client) -> None:
    answer = await client.call("MultiInference", tasks(("price", "", REGRESS), ("price", "", CLASSIFY)))
    first, second = answer.results
    assert [each.value for each in first.regression_result.regressions] == [1.5]
    assert classes(second.classification_result) == [[("", 1.5)]]
    assert [each.model_spec.version.value for each in answer.results] == [1, 1]


@pytest.mark.parametrize(
    ("message", "code", "text"),
    [
        (tasks(), "INVALID_ARGUMENT", "expected at least one task, got none"),
        (
            tasks(("price", "", "tensorflow/serving/predict")),
            "UNIMPLEMENTED",
            "expected the method tensorflow/serving/classify or tensorflow/serving/regress, got "
            "'tensorflow/serving/predict'",
        ),
        (
            tasks(("price", "", REGRESS), ("double", "", REGRESS)),
            "INVALID_ARGUMENT",
            "expected tasks of one model, got several models",
        ),
        (
            tasks(("price", "", REGRESS), ("price", "serving_default", REGRESS)),
            "INVALID_ARGUMENT",
            "expected each signature once a method, got 'serving_default' twice",
        ),
    ],
)
async def test_tasks_that_can_t_be_are_refused(client: Client, message: Any, code: str, text: str) -> None:
    assert await client.refusal("MultiInference", message) == (code, text)


# -- models ----------------------------------------------------------------------------------------------------------


async def test_metadata_tells_all_signatures(client: Client) -> None:
    message = messages.GetModelMetadataRequest(model_spec=spec_of(), metadata_field=["signature_def"])
    answer = await client.call("GetModelMetadata", message)
    assert (answer.model_spec.name, answer.model_spec.version.value) == ("double", 3)
    packed = answer.metadata["signature_def"]
    assert packed.type_url == "type.googleapis.com/tensorflow.serving.SignatureDefMap"
    signatures = messages.SignatureDefMap.FromString(packed.value).signature_def
    assert sorted(signatures) == ["other", "serving_default"]
    told = signatures["other"].inputs["x"]
    assert (told.name, told.dtype, [dim.size for dim in told.tensor_shape.dim]) == ("x", 1, [-1, 2])
    assert signatures["other"].method_name == "tensorflow/serving/predict"


@pytest.mark.parametrize(("fields", "got"), [([], "none"), (["signature_def", "labels"], "'signature_def', 'labels'")])
async def test_other_metadata_is_refused(client: Client, fields: list[str], got: str) -> None:
    message = messages.GetModelMetadataRequest(model_spec=spec_of(), metadata_field=fields)
    assert await client.refusal("GetModelMetadata", message) == (
        "INVALID_ARGUMENT",
        f"expected the metadata field 'signature_def', got {got}",
    )


@pytest.mark.parametrize("spec", [{}, {"version": 3}, {"version_label": "nobody"}])
async def test_the_status_of_a_model_is_told_whatever_the_label(client: Client, spec: dict[str, Any]) -> None:
    answer = await client.call("GetModelStatus", messages.GetModelStatusRequest(model_spec=spec_of(**spec)))
    [told] = answer.model_version_status
    assert (told.version, told.state, told.status.error_code, told.status.error_message) == (3, 30, 0, "")


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (spec_of("nobody"), "Could not find any versions of model nobody"),
        (spec_of(version=4), "Could not find version 4 of model double"),
    ],
)
async def test_the_status_of_what_is_not_there_is_refused(client: Client, spec: dict[str, Any], text: str) -> None:
    message = messages.GetModelStatusRequest(model_spec=spec)
    assert await client.refusal("GetModelStatus", message) == ("NOT_FOUND", text)


@pytest.mark.parametrize(
    ("version", "number"),
    [
        ("3", 3),
        ("1.0", 1),
        ("blue", 0),
        ("", 0),
        ("2024-05", 2024),
        ("9" * 5000, 2**63 - 1),
        ("9223372036854775807", 2**63 - 1),
    ],
)
def test_a_version_that_is_text_is_the_number_that_it_begins_with(version: str, number: int) -> None:
    assert version_number(version) == number


# -- reloading -------------------------------------------------------------------------------------------------------


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A base path with three versions; what is told of them by their first bytes is that they are SavedModels."""
    for number in (1, 2, 10):
        (tmp_path / "m" / str(number)).mkdir(parents=True)
        (tmp_path / "m" / str(number) / "saved_model.pb").write_bytes(b"\x08\x01")
    return tmp_path / "m"


def reload(base: Path, **fields: Any) -> Any:
    message = messages.ReloadConfigRequest()
    message.config.model_config_list.config.add(name="m", base_path=str(base), model_platform="tensorflow", **fields)
    return message


@pytest.mark.parametrize(
    ("policy", "numbers"),
    [
        ({}, [10]),
        ({"latest": {"num_versions": 2}}, [2, 10]),
        ({"all": {}}, [1, 2, 10]),
        ({"specific": {"versions": [1, 2]}}, [1, 2]),
    ],
)
async def test_a_reload_replaces_all_models_by_the_versions_that_its_policy_picks(
    client: Client, base: Path, policy: dict[str, Any], numbers: list[int]
) -> None:
    answer = await client.call("HandleReloadConfigRequest", reload(base, model_version_policy=policy))
    assert answer.HasField("status")
    assert (answer.status.error_code, answer.status.error_message) == (0, "")
    first, asked = client.endpoint.operations
    assert isinstance(first, ListModels)
    assert isinstance(asked, ReplaceModels)
    [model] = asked.models
    assert model["name"] == "m"
    found = [(each["source"], each["as_version"]) for each in model["versions"]]
    assert found == [(str(base / str(number)), str(number)) for number in numbers]
    assert model["versions"][-1].get("traffic") == (100 if len(numbers) > 1 else None)


async def test_a_reload_moves_labels(client: Client, base: Path) -> None:
    labels = {"stable": 2, "canary": 10, "beta": 10}
    await client.call(
        "HandleReloadConfigRequest", reload(base, model_version_policy={"all": {}}, version_labels=labels)
    )
    asked = client.endpoint.operations[1]
    assert isinstance(asked, ReplaceModels)
    assert [each.get("label") for each in asked.models[0]["versions"]] == [None, "stable", ["beta", "canary"]]


async def test_a_list_without_models_retires_all(client: Client) -> None:
    message = messages.ReloadConfigRequest()
    message.config.model_config_list.SetInParent()
    await client.call("HandleReloadConfigRequest", message)
    assert client.endpoint.operations[1] == ReplaceModels(models=())


async def test_a_reload_that_can_t_be_is_refused_and_changes_nothing(client: Client, base: Path) -> None:
    nameless, placeless = messages.ReloadConfigRequest(), messages.ReloadConfigRequest()
    nameless.config.model_config_list.config.add(base_path=str(base))
    placeless.config.model_config_list.config.add(name="m")
    cases = [
        (messages.ReloadConfigRequest(), "expected a model_config_list; other configs are not taken"),
        (nameless, "model '': expected a name and a base_path"),
        (placeless, "model 'm': expected a name and a base_path"),
        (
            reload(base, model_version_policy={"specific": {}}),
            "model 'm': expected at least one specific version, got none",
        ),
        (
            reload(base, version_labels={"stable": 1}),
            "model 'm': label 'stable' is for version 1, which is not loaded; loaded: 10",
        ),
        (
            reload(base / "1"),
            f"model 'm': expected version folders such as {base / '1'}/1, found none that the version policy picks",
        ),
    ]
    for message, text in cases:
        assert await client.refusal("HandleReloadConfigRequest", message) == ("INVALID_ARGUMENT", text)
    assert not [each for each in client.endpoint.operations if isinstance(each, ReplaceModels)]


async def test_no_folder_is_looked_into_where_models_may_not_be_managed(client: Client, base: Path) -> None:
    client.endpoint.managed = False
    for folder in (base, base / "nothing"):
        assert await client.refusal("HandleReloadConfigRequest", reload(folder)) == (
            "PERMISSION_DENIED",
            "calls that manage models answer on the management port",
        )
