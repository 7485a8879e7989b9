"""Answers and errors of `/models`, in the words of MXNet Model Server, TorchServe and SageMaker."""

from __future__ import annotations

import json
from typing import Any

import pytest

from model_store.errors import Conflict, Forbidden, ModelNotFound, ModelNotReady, OnegateError, OutOfMemory, SourceError
from serve.dialects.base import HttpReply
from serve.dialects.model_server_models import Models
from serve.dialects.model_server_replies import Manner
from serve.inference import InferenceResponse, ModelDescription, Payload
from serve.operations import ModelList, ModelStatus, VersionStatus
from serve.routing import ServeOptions
from tests.serve.model_server_calls import JSON, request
from tests.serve.tiny_versions import manifest

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
    at_start=True,
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
        "loadedAtStartup": True,
        "workers": [{"id": "9000", "status": "READY", "gpu": False, "memoryUsage": 0}],
    }


def test_torchserve_describes_versions_in_a_list_with_more_fields() -> None:
    [found] = described("/models/m", BOTH)
    assert [each["loadedAtStartup"] for each in described("/models/m/all", BOTH)] == [True, False]
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
