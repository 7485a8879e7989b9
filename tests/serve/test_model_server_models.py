"""Calls of `/models` of MXNet Model Server, TorchServe and SageMaker: which operations they are."""

from __future__ import annotations

import json
from typing import Any

import pytest

from model_store.errors import InvalidInput, ModelNotFound, OnegateError, Unsupported
from model_store.manifest import PAYLOAD
from serve.dialects.base import NoSuchRoute
from serve.dialects.model_server_models import Models
from serve.dialects.model_server_replies import Manner
from serve.inference import InferenceRequest, ModelQuery, Query
from serve.operations import InspectModel, ListModels, LoadModel, Operation, ScaleModel, SetDefault, UnloadModel
from tests.serve.model_server_calls import JSON, request


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
