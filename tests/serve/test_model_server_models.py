"""`/models` of MXNet Model Server, TorchServe and SageMaker: calls to operations, answers and errors in their words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from model_store.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    ModelNotFound,
    ModelNotReady,
    OnegateError,
    OutOfMemory,
    SourceError,
    Unsupported,
)
from model_store.manifest import PAYLOAD
from serve.dialects.base import HttpReply, HttpRequest, NoSuchRoute
from serve.dialects.model_server_models import Models
from serve.dialects.model_server_replies import Manner
from serve.inference import InferenceRequest, InferenceResponse, ModelDescription, ModelQuery, Payload, Query
from serve.operations import (
    InspectModel,
    ListModels,
    LoadModel,
    ModelList,
    ModelStatus,
    Operation,
    ScaleModel,
    SetDefault,
    UnloadModel,
    VersionStatus,
)
from serve.routing import ServeOptions
from tests.serve.tiny_versions import manifest

JSON = "application/json"


def request(method: str, path: str, body: bytes = b"", content_type: str = "", **headers: str) -> HttpRequest:
    path, _, query = path.partition("?")
    named = {"content-type": content_type} if content_type else {}
    return HttpRequest(method, path, body, (named | headers).get, named | headers, query)


def decode(method: str, path: str, body: bytes = b"", content_type: str = "", manner: Manner = "torchserve") -> Query:
    return Models(manner).decode(request(method, path, body, content_type))


def register(parameters: str, manner: Manner = "torchserve") -> LoadModel:
    query = decode("POST", f"/models?{parameters}", manner=manner)
    assert isinstance(query, LoadModel)
    return query


def register_json(body: dict[str, Any], manner: Manner = "torchserve") -> LoadModel:
    query = decode("POST", "/models", json.dumps(body).encode(), "Application/JSON ; charset=utf-8", manner)
    assert isinstance(query, LoadModel)
    return query


# -- calls -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [
        ("GET", "/models", ListModels()),
        ("GET", "/models/?limit=2", ListModels()),
        ("GET", "/models/m", InspectModel(model="m")),
        ("GET", "/models/m/1.0", InspectModel(model="m", version="1.0")),
        ("GET", "/models/m/all", InspectModel(model="m")),
        ("GET", "/models/m?customized=true", InspectModel(model="m")),
        ("PUT", "/models/m", ScaleModel(model="m", replicas=1)),
        ("PUT", "/models/m/2?min_worker=3&synchronous=true", ScaleModel(model="m", version="2", replicas=3, wait=True)),
        ("PUT", "/models/m?min_worker=2&max_worker=4&number_gpu=1", ScaleModel(model="m", replicas=2, most=4)),
        ("PUT", "/models/m?min_worker=0&max_worker=4", ScaleModel(model="m", replicas=0, most=4)),
        ("PUT", "/models/m?model_version=2&min_worker=2", ScaleModel(model="m", version="2", replicas=2)),
        ("PUT", "/models/m/2.0/set-default", SetDefault(model="m", version="2.0")),
        ("DELETE", "/models/m", UnloadModel(model="m", default_version=True)),
        ("DELETE", "/models/m/1.0", UnloadModel(model="m", version="1.0", default_version=True)),
        ("OPTIONS", "/models/m", ModelQuery("m")),
    ],
)
def test_a_call_is_an_operation(method: str, path: str, operation: Operation) -> None:
    assert decode(method, path) == operation


def test_mms_unregisters_a_model_whole() -> None:
    assert decode("DELETE", "/models/m", manner="mms") == UnloadModel(model="m")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("PUT", "/models", 405),
        ("DELETE", "/models", 405),
        ("OPTIONS", "/models", 405),
        ("POST", "/models/m", 405),
        ("POST", "/models/m/1", 405),
        ("GET", "/models/m/invoke", 405),
        ("GET", "/models/m/1/set-default", 405),
        ("PUT", "/models/m/1/set-other", 404),
        ("GET", "/models/m/1/models", 404),
        ("GET", "/models/m/1/version", 404),
        ("PUT", "/models/m/1/set-default/now", 404),
    ],
)
def test_other_paths_and_methods_are_none(method: str, path: str, status: int) -> None:
    with pytest.raises(NoSuchRoute) as caught:
        decode(method, path)
    assert caught.value.status == status
    assert Models().encode_error(request(method, path), caught.value).status == status


def test_a_model_is_called_by_invoke() -> None:
    query = decode("POST", "/models/m/invoke?top=3", b"[1]", JSON)
    assert isinstance(query, InferenceRequest)
    assert (query.model, query.version, query.label, query.signature) == ("m", None, None, PAYLOAD)
    assert query.payload is not None
    assert query.payload.fields == {"top": b"3", "body": b"[1]"}


# -- registrations ---------------------------------------------------------------------------------------------------


def test_an_archive_is_registered_under_its_own_name_or_another() -> None:
    assert register("url=net.mar") == LoadModel(source="net.mar", replace=False)
    assert register("url=https%3A%2F%2Fa%2Fnet.mar&model_name=m").model == "m"


def test_sagemaker_registers_a_folder_under_a_name() -> None:
    folder = "/opt/ml/models/ab12/model"
    assert register_json({"model_name": "ab12", "url": folder}, "mms") == LoadModel(
        model="ab12", source=folder, replace=False
    )


def test_parameters_become_settings_of_the_model() -> None:
    query = register("url=a&batch_size=8&max_batch_delay=50&response_timeout=20&initial_workers=2&unknown=1")
    assert query.settings == {
        "handler": {"batch_size": 8},
        "serve": {
            "batching": {"max_batch_size": 8, "max_delay_ms": 50.0},
            "deadline_ms": 20_000,
            "executor": "replicas",
            "replicas": 2,
        },
    }


@pytest.mark.parametrize("workers", [0, 1])
def test_one_worker_or_none_leave_the_executor_to_the_config(workers: int) -> None:
    assert register(f"url=a&initial_workers={workers}").settings == {}


@pytest.mark.parametrize(
    ("manner", "deadline_ms"),
    [("torchserve", 2_000), ("mms", 120_000)],
)
def test_mms_counts_the_timeout_of_a_query_in_minutes(manner: Manner, deadline_ms: int) -> None:
    assert register("url=a&response_timeout=2", manner).settings == {"serve": {"deadline_ms": deadline_ms}}
    assert register_json({"url": "a", "response_timeout": 2}, manner).settings == {"serve": {"deadline_ms": 2_000}}


@pytest.mark.parametrize(
    ("manner", "parameters", "wait"),
    [
        ("torchserve", "", True),
        ("torchserve", "&synchronous=false", True),
        ("torchserve", "&initial_workers=1", False),
        ("torchserve", "&initial_workers=1&synchronous=true", True),
        ("mms", "&initial_workers=1", True),
        ("mms", "&initial_workers=1&synchronous=False", False),
    ],
)
def test_who_asks_for_no_worker_or_says_synchronous_waits(manner: Manner, parameters: str, wait: bool) -> None:
    assert register(f"url=a{parameters}", manner).wait is wait


@pytest.mark.parametrize(
    ("parameters", "kind", "message"),
    [
        ("", InvalidInput, r"^Parameter url is required\.$"),
        ("url=", InvalidInput, r"^Parameter url is required\.$"),
        ("url=..%2Fnet.mar", ModelNotFound, r"^Relative path is not allowed in url: \.\./net\.mar$"),
        ("url=a&runtime=LSP", InvalidInput, r"^Parameter runtime: expected python or python3, got 'LSP'$"),
        ("url=a&runtime=python2", InvalidInput, "^Parameter runtime: "),
        ("url=a&handler=other.py", Unsupported, "^Parameter handler: the archive's own handler runs"),
        ("url=a&s3_sse_kms=true", Unsupported, "^Parameter s3_sse_kms: "),
        ("url=a&batch_size=many", InvalidInput, r"Expected `int`, got `str` - at `\$\.batch_size`$"),
        ("url=a&batch_size=-1", InvalidInput, r"at `\$\.batch_size`$"),
        (f"url=a&max_batch_delay={10**400}", InvalidInput, r"Expected `int` <= 2147483647 - at `\$\.max_batch_delay`$"),
        (f"url=a&initial_workers={2**31}", InvalidInput, r"Expected `int` <= 2147483647 - at `\$\.initial_workers`$"),
        ("url=a&synchronous=perhaps", InvalidInput, r"at `\$\.synchronous`$"),
    ],
)
def test_what_can_t_be_registered_is_refused_by_name(parameters: str, kind: type[OnegateError], message: str) -> None:
    with pytest.raises(kind, match=message):
        register(parameters)


def test_parameters_that_change_nothing_here_are_taken() -> None:
    query = register("url=a&runtime=python3&startup_timeout=9&preload_model=true&s3_sse_kms=false")
    assert query.settings == {}


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{", b'{"url": 1}', b"\xff", b'{"a":' + b"[" * 9999])
def test_json_that_is_no_registration_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        decode("POST", "/models", body, JSON)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ("min_worker=3&max_worker=2", r"^max_worker cannot be less than min_worker\.$"),
        ("min_worker=0", "^min_worker: expected at least 1; unregister a model that is to hold no worker$"),
        ("max_worker=0", r"^max_worker cannot be less than min_worker\.$"),
        ("min_worker=some", "min_worker"),
    ],
)
def test_numbers_of_workers_that_can_t_be_are_refused(parameters: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        decode("PUT", f"/models/m?{parameters}")


# -- answers ---------------------------------------------------------------------------------------------------------

FIRST = VersionStatus(
    version="1.0",
    state="READY",
    default=True,
    source="net.mar",
    framework="mxnet",
    runtime="onnx",
    replicas_ready=1,
    replicas_wanted=1,
    max_batch_size=8,
    max_delay_ms=0.5,
    deadline_ms=30_000,
)
SECOND = VersionStatus(version="2.0", state="READY", replicas_ready=2, replicas_wanted=2, source="net2.mar")
LOADING = VersionStatus(version="2.0", state="LOADING", replicas_ready=1, replicas_wanted=2)
BOTH = ModelList((ModelStatus("m", (FIRST, SECOND)),))
HALF = ModelList((ModelStatus("m", (FIRST, LOADING)),))


def reply(method: str, path: str, answer: ModelList, manner: Manner = "torchserve", body: bytes = b"") -> HttpReply:
    asked = request(method, path, body, JSON if body else "")
    dialect = Models(manner)
    return dialect.encode(asked, dialect.decode(asked), answer)


def said(*arguments: Any) -> tuple[int, str]:
    """Status, and the sentence of the answer."""
    told = reply(*arguments)
    return told.status, json.loads(told.body)["status"]


def described(path: str, answer: ModelList, manner: Manner = "torchserve") -> Any:
    return json.loads(reply("GET", path, answer, manner).body)


REGISTERED = 'Model "m" Version: 2.0 registered with'
NO_WORKER = f"{REGISTERED} 0 initial workers. Use scale workers API to add workers for the model."


@pytest.mark.parametrize(
    ("manner", "parameters", "answer", "status", "text"),
    [
        ("torchserve", "url=a", BOTH, 200, NO_WORKER),
        ("torchserve", "url=a", HALF, 200, NO_WORKER),
        ("torchserve", "url=a&initial_workers=1", BOTH, 202, "Processing worker updates..."),
        ("torchserve", "url=a&initial_workers=2&synchronous=true", BOTH, 200, f"{REGISTERED} 2 initial workers"),
        ("torchserve", "url=a&initial_workers=2&synchronous=true", HALF, 206, "Workers scaling in progress..."),
        ("mms", "url=a", BOTH, 200, 'Model "m" registered'),
        ("mms", "url=a&initial_workers=1&synchronous=false", BOTH, 202, "Processing worker updates..."),
        ("mms", "url=a&initial_workers=2", BOTH, 200, "Workers scaled"),
        ("mms", "url=a&initial_workers=2", HALF, 210, "Workers scaling in progress..."),
    ],
)
def test_a_registration_is_told_as_either_server_does(
    manner: Manner, parameters: str, answer: ModelList, status: int, text: str
) -> None:
    assert said("POST", f"/models?{parameters}", answer, manner) == (status, text)


def test_the_version_that_was_registered_is_told_by_its_source() -> None:
    text = said("POST", "/models?url=net.mar", BOTH)[1]
    assert text.startswith('Model "m" Version: 1.0 registered with 0 initial workers')


def test_sagemaker_s_load_is_told_when_the_model_is_there() -> None:
    body = json.dumps({"model_name": "m", "url": "/opt/ml/models/m/model"}).encode()
    assert said("POST", "/models", BOTH, "mms", body) == (200, 'Model "m" registered')


@pytest.mark.parametrize(
    ("manner", "path", "answer", "status", "text"),
    [
        ("torchserve", "/models/m", BOTH, 202, "Processing worker updates..."),
        ("torchserve", "/models/m?min_worker=3&synchronous=true", BOTH, 200, "Workers scaled to 3 for model: m"),
        ("torchserve", "/models/m/2.0?synchronous=true", BOTH, 200, "Workers scaled to 1 for model: m, version: 2.0"),
        ("torchserve", "/models/m?synchronous=true", HALF, 200, "Workers scaled to 1 for model: m"),
        ("torchserve", "/models/m/2.0?synchronous=true", HALF, 206, "Workers scaling in progress..."),
        ("mms", "/models/m?min_worker=2&synchronous=true", BOTH, 200, "Workers scaled"),
        ("mms", "/models/m/2.0?synchronous=true", HALF, 210, "Workers scaling in progress..."),
    ],
)
def test_scaling_is_told_as_either_server_does(
    manner: Manner, path: str, answer: ModelList, status: int, text: str
) -> None:
    assert said("PUT", path, answer, manner) == (status, text)


def test_other_changes_are_told_in_a_sentence() -> None:
    default = 'Default version successfully updated for model "m" to "2.0"'
    assert said("PUT", "/models/m/2.0/set-default", BOTH) == (200, default)
    assert said("DELETE", "/models/m/1.0", ModelList()) == (200, 'Model "m" unregistered')


def test_replies_have_the_headers_of_the_servers() -> None:
    headers = dict(reply("DELETE", "/models/m", ModelList()).headers)
    assert len(headers.pop("x-request-id")) == 36
    assert headers == {
        "pragma": "no-cache",
        "cache-control": "no-cache; no-store, must-revalidate, private",
        "expires": "Thu, 01 Jan 1970 00:00:00 UTC",
        "content-type": "application/json",
    }


def test_mms_describes_a_model_as_an_object() -> None:
    assert described("/models/m", BOTH, "mms") == {
        "modelName": "m",
        "modelVersion": "1.0",
        "modelUrl": "net.mar",
        "engine": "mxnet",
        "runtime": "python",
        "minWorkers": 1,
        "maxWorkers": 1,
        "batchSize": 8,
        "maxBatchDelay": 1,
        "loadedAtStartup": False,
        "workers": [{"id": "9000", "status": "READY", "gpu": False, "memoryUsage": 0}],
    }


def test_torchserve_describes_versions_in_a_list_with_more_fields() -> None:
    [found] = described("/models/m", BOTH)
    assert (found["modelVersion"], found["responseTimeout"], "engine" in found) == ("1.0", 30, False)
    assert found["workers"] == [{"id": "9000", "status": "READY", "gpu": False, "memoryUsage": 0, "gpuUsage": "N/A"}]
    assert {"jobQueueStatus", "status", "customizedMetadata"}.isdisjoint(found)


@pytest.mark.parametrize(("path", "versions"), [("/models/m/2.0", ["2.0"]), ("/models/m/all", ["1.0", "2.0"])])
def test_a_description_is_of_the_versions_that_were_named(path: str, versions: list[str]) -> None:
    assert [found["modelVersion"] for found in described(path, BOTH)] == versions


def test_a_version_that_can_t_be_called_says_how_far_it_is() -> None:
    failed = VersionStatus(version="", state="FAILED", reason="the archive is cut off")
    [found] = described("/models/m", ModelList((ModelStatus("m", (failed,)),)))
    assert (found["status"], found["workers"]) == ("FAILED: the archive is cut off", [])
    assert described("/models/m/2.0", HALF)[0]["status"] == "LOADING"


def test_a_version_that_is_not_there_is_not_found() -> None:
    with pytest.raises(ModelNotFound, match=r"^versions: 1\.0, 2\.0$"):
        described("/models/m/3", BOTH)


MODELS = ModelList((*(ModelStatus(name, (FIRST,)) for name in ("c", "a")), ModelStatus("b")))


@pytest.mark.parametrize(
    ("query", "names", "token"),
    [
        ("", ["a", "b", "c"], None),
        ("?limit=2", ["a", "b"], "2"),
        ("?limit=2&next_page_token=2", ["c"], None),
        ("?limit=3", ["a", "b", "c"], "3"),
        ("?limit=3&next_page_token=3", [], None),
        ("?limit=0", [], "0"),
        ("?limit=-1&next_page_token=-5", ["a", "b", "c"], None),
        ("?limit=101", ["a", "b", "c"], None),
        ("?limit=1&next_page_token=-2", ["a"], "1"),
        ("?next_page_token=9", [], None),
    ],
)
def test_models_are_listed_by_name_in_pages(query: str, names: list[str], token: str | None) -> None:
    page = described(f"/models{query}", MODELS)
    assert [each["modelName"] for each in page["models"]] == names
    assert page.get("nextPageToken") == token


def test_a_listed_model_says_where_it_came_from() -> None:
    assert described("/models", MODELS)["models"][:2] == [
        {"modelName": "a", "modelUrl": "net.mar"},
        {"modelName": "b", "modelUrl": ""},
    ]


def test_a_prediction_is_answered_as_the_model_made_it() -> None:
    asked = request("POST", "/models/m/invoke", b"[1]")
    dialect = Models("mms")
    told = dialect.encode(
        asked, dialect.decode(asked), InferenceResponse("m", "1", "id-1", payload=Payload(b"[2]", JSON, status=201))
    )
    assert (told.status, told.body, dict(told.headers)["x-request-id"]) == (201, b"[2]", "id-1")


def test_options_are_answered_with_the_model_s_document() -> None:
    asked = request("OPTIONS", "/models/double")
    description = ModelDescription(manifest(), "1", ("1",), ServeOptions("inline"))
    told = Models().encode(asked, Models().decode(asked), description)
    assert (told.status, json.loads(told.body)["info"]["title"]) == (200, "double")


# -- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "error", "status", "kind", "message"),
    [
        (
            "POST",
            "/models",
            Conflict("loaded", model="m", version="1.0"),
            409,
            "ConflictStatusException",
            "Model version 1.0 is already registered for model m",
        ),
        (
            "POST",
            "/models",
            Conflict("loaded", model="m", version=None),
            409,
            "ConflictStatusException",
            "Model m is already registered.",
        ),
        ("POST", "/models", Conflict("changed meanwhile"), 409, "ConflictStatusException", "changed meanwhile"),
        ("POST", "/models", OutOfMemory("it takes 9 GB"), 507, "OutOfMemoryError", "it takes 9 GB"),
        ("POST", "/models", SourceError("cut off"), 400, "InvalidModelException", "cut off"),
        ("POST", "/models", ModelNotFound("no such file"), 404, "ModelNotFoundException", "no such file"),
        ("POST", "/models", Forbidden("no pattern admits it"), 403, "Forbidden", "no pattern admits it"),
        (
            "POST",
            "/models",
            ModelNotReady("the handler raised"),
            500,
            "InternalServerException",
            "Failed to start workers (the handler raised)",
        ),
        (
            "POST",
            "/models",
            ModelNotReady("the controller went away", retry_after_s=2.0),
            503,
            "ServiceUnavailableException",
            "the controller went away",
        ),
        (
            "PUT",
            "/models/m",
            ModelNotReady("no room"),
            500,
            "InternalServerException",
            "Failed to start workers (no room)",
        ),
        (
            "PUT",
            "/models/m",
            ModelNotFound("not loaded", model="m"),
            404,
            "ModelNotFoundException",
            "Model not found: m",
        ),
        (
            "PUT",
            "/models/m/2/set-default",
            ModelNotFound("loaded: 1", model="m", version="2"),
            404,
            "ModelVersionNotFoundException",
            "Model version: 2 does not exist for model: m; loaded: 1",
        ),
        (
            "DELETE",
            "/models/m",
            Forbidden("answers by default", model="m"),
            403,
            "InvalidModelVersionException",
            "Cannot remove default version for model m",
        ),
        (
            "DELETE",
            "/models/m/1",
            Forbidden("answers by default", model="m"),
            403,
            "InvalidModelVersionException",
            "Cannot remove default version for model m",
        ),
        ("DELETE", "/models/m", Forbidden("not here"), 403, "Forbidden", "not here"),
        (
            "GET",
            "/models/m",
            ModelNotFound("not loaded", model="m"),
            404,
            "ModelNotFoundException",
            "Model not found: m",
        ),
        (
            "POST",
            "/models/m/invoke",
            ModelNotFound("not loaded", model="m"),
            404,
            "ModelNotFoundException",
            "Model not found: m",
        ),
        ("POST", "/models/m/invoke", OutOfMemory("full"), 507, "OutOfMemoryError", "full"),
    ],
)
def test_errors_are_told_as_the_servers_do(
    method: str, path: str, error: OnegateError, status: int, kind: str, message: str
) -> None:
    told = Models().encode_error(request(method, path), error)
    assert told.status == status
    assert json.loads(told.body) == {"code": status, "type": kind, "message": message}
    assert dict(told.headers)["connection"] == "close"


def test_mms_knows_no_versions_of_what_is_registered() -> None:
    told = Models("mms").encode_error(request("POST", "/models"), Conflict("loaded", model="m", version="1"))
    assert json.loads(told.body)["message"] == "Model m is already registered."


def test_a_call_without_workers_is_worded_as_a_prediction_is() -> None:
    told = Models("mms").encode_error(request("POST", "/models/m/invoke"), ModelNotReady("it loads"))
    assert (told.status, json.loads(told.body)["type"]) == (503, "ServiceUnavailableException")
