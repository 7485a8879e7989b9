"""Open Inference over HTTP about models: configuration, statistics, repository index, load and unload."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import pytest

from model_store.errors import (
    ConfigError,
    Conflict,
    Forbidden,
    InternalError,
    InvalidInput,
    ModelNotFound,
    OnegateError,
    OutOfMemory,
    Overloaded,
    SourceError,
)
from model_store.manifest import Manifest, TensorSpec
from serve.dialects.base import HttpRequest
from serve.dialects.open_inference_http import OpenInferenceHttp
from serve.inference import ModelDescription, ModelQuery, Query, Statistics, StatisticsQuery
from serve.metrics.buckets import Durations
from serve.operations import ListModels, LoadModel, ModelList, ModelStatus, UnloadModel, VersionStatus
from serve.routing import Batching, ServeOptions
from serve.statistics import Duration, VersionStatistics
from tests.serve.tiny_versions import manifest

DIALECT = OpenInferenceHttp()
HEADERS = [("content-type", "application/json"), ("cache-control", "no-transform")]


def request(path: str, body: Any = None, method: str = "POST") -> HttpRequest:
    content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return HttpRequest(method, path, content, {}.get)


def get(path: str) -> HttpRequest:
    return request(path, method="GET")


# -- configuration ---------------------------------------------------------------------------------------------------


def config_of(described: Manifest, serve: ServeOptions, versions: tuple[str, ...] = ("1",)) -> dict[str, Any]:
    answer = ModelDescription(described, versions[0], versions, serve)
    reply = DIALECT.encode(get("/v2/models/m/config"), ModelQuery("m"), answer)
    assert (reply.status, reply.headers) == (200, HEADERS)
    document: dict[str, Any] = json.loads(reply.body)
    return document


def test_the_configuration_of_a_model_with_a_batch() -> None:
    inputs = (TensorSpec("x", "FP32", (-1, 3, -1)), TensorSpec("s", "BYTES", (-1,)))
    described = msgspec.structs.replace(
        manifest("m", 1, inputs, (TensorSpec("y", "BF16", (-1, 2)),)), labels=("cat", "dog")
    )
    serve = ServeOptions("replicas", replicas=3, batching=Batching(8, 0.5, 100, (4, 8)))
    assert config_of(described, serve) == {
        "name": "m",
        "platform": "onnx_onnxv1",
        "backend": "onnxruntime",
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": 8,
        "input": [
            {"name": "x", "data_type": "TYPE_FP32", "dims": [3, -1]},
            {"name": "s", "data_type": "TYPE_STRING", "dims": [1], "reshape": {"shape": []}},
        ],
        "output": [{"name": "y", "data_type": "TYPE_BF16", "dims": [2], "label_filename": "labels.txt"}],
        "instance_group": [{"name": "m", "kind": "KIND_CPU", "count": 3}],
        "model_transaction_policy": {"decoupled": False},
        "dynamic_batching": {"preferred_batch_size": [4, 8], "max_queue_delay_microseconds": 500},
    }


def test_the_configuration_of_a_model_without_batch() -> None:
    inputs, outputs = (TensorSpec("x", "INT64", (2, 3)),), (TensorSpec("y", "BOOL", ()),)
    described = msgspec.structs.replace(manifest("m", 1, inputs, outputs), runtime="pytorch")
    document = config_of(described, ServeOptions("inline", cache_mib=8), ("1", "2", "2.0"))
    assert (document["platform"], document["backend"]) == ("onegate_pytorch", "pytorch")
    assert document["version_policy"] == {"specific": {"versions": [1, 2]}}
    assert document["max_batch_size"] == 0
    assert document["input"] == [{"name": "x", "data_type": "TYPE_INT64", "dims": [2, 3]}]
    assert document["output"] == [{"name": "y", "data_type": "TYPE_BOOL", "dims": [1], "reshape": {"shape": []}}]
    assert document["response_cache"] == {"enable": True}
    assert "dynamic_batching" not in document


def test_rows_that_may_not_be_merged_have_no_dynamic_batching() -> None:
    document = config_of(manifest("m", row_independent=False), ServeOptions("inline"))
    assert document["max_batch_size"] == 64
    assert "dynamic_batching" not in document


# -- statistics ------------------------------------------------------------------------------------------------------


def test_statistics_tell_requests_rows_and_batches() -> None:
    counted = VersionStatistics(
        "m",
        "3",
        last_inference_ms=1_700_000_000_123,
        rows=11,
        unrecorded_success=Duration(5, 900),
        unrecorded_fail=Duration(1, 40),
        queue=Durations([5], 100),
        cache_hit=Duration(2, 10),
        cache_miss=Duration(3, 30),
        compute={8: Duration(1, 400), 1: Duration(3, 300)},
    )
    untouched = VersionStatistics("n", "1")
    reply = DIALECT.encode(get("/v2/models/stats"), StatisticsQuery(), Statistics((counted, untouched)))
    told, quiet = json.loads(reply.body)["model_stats"]
    assert told == {
        "name": "m",
        "version": "3",
        "last_inference": 1_700_000_000_123,
        "inference_count": 11,
        "execution_count": 4,
        "inference_stats": {
            "success": {"count": 5, "ns": 900},
            "fail": {"count": 1, "ns": 40},
            "queue": {"count": 5, "ns": 100},
            "compute_input": {"count": 4, "ns": 0},
            "compute_infer": {"count": 4, "ns": 700},
            "compute_output": {"count": 4, "ns": 0},
            "cache_hit": {"count": 2, "ns": 10},
            "cache_miss": {"count": 3, "ns": 30},
        },
        "response_stats": {},
        "batch_stats": [
            {
                "batch_size": 1,
                "compute_input": {"count": 3, "ns": 0},
                "compute_infer": {"count": 3, "ns": 300},
                "compute_output": {"count": 3, "ns": 0},
            },
            {
                "batch_size": 8,
                "compute_input": {"count": 1, "ns": 0},
                "compute_infer": {"count": 1, "ns": 400},
                "compute_output": {"count": 1, "ns": 0},
            },
        ],
        "memory_usage": [],
    }
    assert (quiet["name"], quiet["inference_count"], quiet["batch_stats"]) == ("n", 0, [])


# -- index -----------------------------------------------------------------------------------------------------------

INDEX = "/v2/repository/index"


@pytest.mark.parametrize("path", [INDEX, "/v2/repository/any/index", "/v2/repository/models/index", INDEX + "/"])
@pytest.mark.parametrize("body", [None, b" \n", {}, {"ready": True}, {"ready": False, "other": 1}])
def test_the_index_asks_for_all_models_of_the_store_too(path: str, body: Any) -> None:
    assert DIALECT.decode(request(path, body)) == ListModels(stored=True)


@pytest.mark.parametrize("body", [b"{", b"[]", {"ready": "yes"}, {"ready": None}, b'{"x":' + b"[" * 100_000, b'"\xff"'])
def test_an_index_request_of_another_form_is_refused(body: Any) -> None:
    with pytest.raises(InvalidInput, match=r"^the body is not a v2 repository request: "):
        DIALECT.decode(request(INDEX, body))


def version(name: str, state: str, reason: str | None = None) -> VersionStatus:
    return VersionStatus(version=name, state=state, reason=reason)


MODELS = ModelList(
    (
        ModelStatus("a", (version("1", "RETIRED"), version("2", "DRAINING"), version("3", "READY"))),
        ModelStatus("b", (version("", "FAILED", "its source is cut off"),)),
        ModelStatus("c", (version("1", "STORED"), version("2", "IDLE"))),
        ModelStatus("d", (version("", "CONVERTING"), version("7", "LOADING", "it waits for memory"))),
    )
)


def index(body: Any = None) -> Any:
    asked = request(INDEX, body)
    reply = DIALECT.encode(asked, DIALECT.decode(asked), MODELS)
    assert (reply.status, reply.headers) == (200, HEADERS)
    return json.loads(reply.body)


def test_the_index_is_a_bare_list_of_versions() -> None:
    assert index() == [
        {"name": "a", "version": "1", "state": "UNAVAILABLE", "reason": "unloaded"},
        {"name": "a", "version": "2", "state": "UNLOADING", "reason": ""},
        {"name": "a", "version": "3", "state": "READY", "reason": ""},
        {"name": "b", "state": "UNAVAILABLE", "reason": "its source is cut off"},
        {"name": "c", "version": "1", "state": "UNAVAILABLE", "reason": "unloaded"},
        {"name": "c", "version": "2", "state": "READY", "reason": ""},
        {"name": "d", "state": "LOADING", "reason": ""},
        {"name": "d", "version": "7", "state": "LOADING", "reason": "it waits for memory"},
    ]


def test_the_index_may_be_of_ready_versions_only() -> None:
    assert [(each["name"], each["version"]) for each in index({"ready": True})] == [("a", "3"), ("c", "2")]
    assert len(index({"ready": False})) == 8


# -- load and unload -------------------------------------------------------------------------------------------------


def load(parameters: Any = None, path: str = "/v2/repository/models/m/load") -> Query:
    return DIALECT.decode(request(path, {"parameters": parameters}))


@pytest.mark.parametrize("body", [None, {}, {"parameters": {}}, {"parameters": None}, {"parameters": {"config": None}}])
@pytest.mark.parametrize("path", ["/v2/repository/models/m/load", "/v2/repository/any/models/m/load"])
def test_a_load_waits_and_reloads(path: str, body: Any) -> None:
    assert DIALECT.decode(request(path, body)) == LoadModel(model="m", replace=True, wait=True)


def test_a_model_may_have_the_name_of_a_word_in_the_path() -> None:
    assert load(path="/v2/repository/models/models/load") == LoadModel(model="models")
    assert load(path="/v2/repository/models/models/index/load") == LoadModel(model="index")


def test_a_load_s_configuration_sets_batching_and_replicas() -> None:
    config = {
        "name": "m",
        "max_batch_size": 8,
        "dynamic_batching": {"preferred_batch_size": [8, 4], "max_queue_delay_microseconds": "1500"},
        "instance_group": [{"count": 3, "kind": "KIND_CPU"}],
        "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": ["-1"]}],
        "optimization": {},
        "parameters": {},
        "default_model_filename": "",
    }
    batching = {"max_batch_size": 8, "max_delay_ms": 1.5, "preferred_batch_sizes": [4, 8]}
    assert load({"config": json.dumps(config)}) == LoadModel(
        model="m", settings={"serve": {"batching": batching, "replicas": 3, "executor": "replicas"}}
    )


def test_a_configuration_s_sections_set_what_they_leave_out() -> None:
    config = {"dynamic_batching": {}, "instance_group": [{"count": 1}]}
    operation = load({"config": json.dumps(config)})
    assert isinstance(operation, LoadModel)
    assert operation.settings == {
        "serve": {"batching": {"max_delay_ms": 0.0, "preferred_batch_sizes": []}, "replicas": 1}
    }


def test_a_model_s_own_configuration_can_be_sent_back() -> None:
    inputs = (TensorSpec("x", "FP32", (-1, 3)), TensorSpec("s", "BYTES", (-1,)))
    described = msgspec.structs.replace(manifest("m", 1, inputs), labels=("cat", "dog"))
    serve = ServeOptions("replicas", replicas=2, batching=Batching(16, 2.0, 100, (8,)))
    operation = load({"config": json.dumps(config_of(described, serve))})
    assert isinstance(operation, LoadModel)
    batching = {"max_batch_size": 16, "max_delay_ms": 2.0, "preferred_batch_sizes": [8]}
    assert operation.settings == {"serve": {"replicas": 2, "batching": batching, "executor": "replicas"}}


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def test_files_come_in_base64_under_their_version() -> None:
    files = {"file:3/model.onnx": encoded(b"\x00onnx"), "file:3/data/w.bin": encoded(b"w")}
    assert load({"config": "{}", **files}) == LoadModel(
        model="m", version="3", files={"model.onnx": b"\x00onnx", "data/w.bin": b"w"}
    )


def test_an_export_that_is_a_folder_is_what_the_folder_holds() -> None:
    files = {
        "file:1/model.savedmodel/saved_model.pb": encoded(b"pb"),
        "file:1/model.savedmodel/variables/variables.index": encoded(b"i"),
    }
    operation = load({"config": "{}", **files})
    assert isinstance(operation, LoadModel)
    assert operation.files == {"saved_model.pb": b"pb", "variables/variables.index": b"i"}


@pytest.mark.parametrize("places", [["a.onnx"], ["v/a.onnx", "w/b.bin"], ["v/a.onnx", "b.bin"]])
def test_files_that_do_not_all_lie_in_one_folder_stay_where_they_are(places: list[str]) -> None:
    operation = load({"config": "{}", **{f"file:1/{place}": encoded(b"x") for place in places}})
    assert isinstance(operation, LoadModel)
    assert list(operation.files) == places


def test_labels_that_a_load_can_not_bring_are_refused() -> None:
    config = {"backend": "onnxruntime", "output": [{"name": "y", "label_filename": "labels.txt"}]}
    with pytest.raises(ConfigError, match=r"can be had: output\.label_filename: labels can't come with a load"):
        load({"config": json.dumps(config), "file:1/model.onnx": encoded(b"x")})


def test_inputs_of_a_model_without_names_come_from_the_configuration() -> None:
    config = {
        "backend": "pytorch",
        "max_batch_size": 4,
        "input": [{"name": "INPUT__0", "data_type": "TYPE_FP32", "dims": [3, -1]}],
        "output": [{"name": "OUTPUT__0", "data_type": "TYPE_FP32", "dims": [2]}],
    }
    operation = load({"config": json.dumps(config), "file:1/model.pt": encoded(b"p")})
    assert isinstance(operation, LoadModel)
    assert operation.settings["inputs"] == [{"name": "INPUT__0", "datatype": "FP32", "shape": [-1, 3, -1]}]


PLACES = [
    "file:",
    "file:1",
    "file:1/",
    "file:/model.onnx",
    "file:a/model.onnx",
    "file:-1/model.onnx",
    "file:1//etc/passwd",
    "file:1/../../x",
    "file:1/a/../b",
    "file:1/./b",
    "file:1/a\\..\\b",
    "file:1/a\0b",
    "file:../1/x",
]


@pytest.mark.parametrize("place", PLACES)
def test_a_file_outside_its_version_is_refused(place: str) -> None:
    with pytest.raises(InvalidInput, match=r"^expected 'file:<version>/<name>' with a path inside the version, got "):
        load({"config": "{}", place: encoded(b"x")})


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"file:1/a": "eA=="}, "'file:' needs the parameter 'config' beside it"),
        ({"config": "{}", "file:1/a": "not base64!"}, "parameter 'file:1/a' is a file in base64"),
        ({"config": "{}", "file:1/a": "eA="}, "parameter 'file:1/a' is a file in base64"),
        ({"config": "{}", "file:1/a": "\u00fc"}, "parameter 'file:1/a' is a file in base64"),
        ({"config": "{}", "file:1/a": 7}, "parameter 'file:1/a' is a file in base64"),
        ({"config": "{}", "file:1/a": "eA==", "file:2/a": "eA=="}, "files of one version are loaded at a time"),
        ({"config": {}}, "parameter 'config' is the JSON text of a model configuration"),
        ({"replicas": 2}, "a load has the parameters 'config' and 'file:<version>/<name>', got 'replicas'"),
        ([], "the body is not a v2 repository request: Expected `object | null`, got `array`"),
    ],
)
def test_a_load_of_another_form_is_refused(parameters: Any, message: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        load(parameters)
    assert str(refused.value)[: len(message)] == message


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "config: expected the JSON text of a model configuration: Input data was truncated"),
        ("[]", "config: expected the JSON text of a model configuration: Expected `object`, got `array`"),
        ('{"a":' + "[" * 100_000, "config: expected the JSON text of a model configuration: maximum recursion depth"),
        ('{"a":' * 40 + "1" + "}" * 40, "config: at most 32 levels of objects"),
        ('{"a": [[1]]}', "config: a: expected text, a number, true, false, an object or a list of such"),
        ('{"max_batch_size": "8"}', "config: max_batch_size: expected a whole number, got '8'"),
        ('{"name": "n"}', "config: not everything can be had: name: expected 'm', the model that is loaded, got 'n'"),
        ('{"optimization": {"graph": {"level": 1}}}', "config: not everything can be had: optimization"),
        ('{"speed": 9}', "config: not everything can be had: speed: "),
        ('{"backend": "python"}', "config: not everything can be had: backend: "),
        ('{"platform": "tensorrt_plan"}', "config: not everything can be had: backend: "),
        ('{"sequence_batching": {}}', "config: not everything can be had: sequence_batching: "),
        ('{"ensemble_scheduling": {"step": []}}', "config: not everything can be had: ensemble_scheduling: "),
        ('{"instance_group": [{"kind": "KIND_GPU"}]}', "config: not everything can be had: instance_group.kind: "),
        (
            '{"version_policy": {"specific": {"versions": [1, 2]}}}',
            "config: not everything can be had: version_policy: a load brings one version",
        ),
    ],
)
def test_a_configuration_that_can_not_be_honoured_is_refused_by_name(config: str, message: str) -> None:
    with pytest.raises((ConfigError, SourceError)) as refused:
        load({"config": config})
    assert str(refused.value)[: len(message)] == message
    assert DIALECT.encode_error(request("/v2/repository/models/m/load"), refused.value).status == 400


@pytest.mark.parametrize("body", [None, {"parameters": {"unload_dependents": True}}])
def test_an_unload_does_not_wait(body: Any) -> None:
    asked = request("/v2/repository/models/m/unload", body)
    assert DIALECT.decode(asked) == UnloadModel(model="m", wait=False)


@pytest.mark.parametrize("parameters", [{"unload_dependents": 1}, {"config": "{}"}])
def test_an_unload_of_another_form_is_refused(parameters: Any) -> None:
    with pytest.raises(InvalidInput, match=r"^an unload has the parameter 'unload_dependents', true or false, got "):
        DIALECT.decode(request("/v2/repository/models/m/unload", {"parameters": parameters}))


def test_a_change_that_is_done_has_an_empty_answer() -> None:
    for action in ("load", "unload"):
        asked = request(f"/v2/repository/models/m/{action}")
        reply = DIALECT.encode(asked, DIALECT.decode(asked), MODELS)
        assert (reply.status, reply.body) == (200, b"")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ModelNotFound("no model 'm'"), 400),
        (Conflict("it was changed"), 400),
        (OutOfMemory("it needs 9 GiB"), 400),
        (SourceError("its source is cut off"), 400),
        (Forbidden("management answers on its own port"), 403),
        (Overloaded("try again later"), 503),
        (InternalError("internal error 1"), 500),
    ],
)
def test_a_change_that_failed_is_400_where_the_caller_can_mend_it(error: OnegateError, status: int) -> None:
    reply = DIALECT.encode_error(request("/v2/repository/models/m/load"), error)
    assert (reply.status, json.loads(reply.body)) == (status, {"error": error.message})
