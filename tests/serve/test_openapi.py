"""The OpenAPI documents: valid, whole against the table of dialects, and true to each model's tensors."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import validate

from model_store.errors import OnegateError
from model_store.manifest import TensorSpec
from serve.dialects.api_description import ApiDescription
from serve.dialects.base import ANY_SEGMENT, HttpDialect, HttpRequest, NoSuchRoute
from serve.dialects.registry import http_dialects, management_dialects
from serve.inference import ModelDescription
from serve.management_paths import METRICS_PATH
from serve.openapi.document import endpoint_document, management_document, model_document
from serve.openapi.tensors import inputs_schema, tensor_schema
from serve.routing import ServeOptions
from tests.serve.front_doors.http_calls import call
from tests.serve.served_models import colours, echo, people, serving
from tests.serve.tiny_versions import manifest

MODELS = [
    ModelDescription(each, "1", ("1",), ServeOptions("inline")) for each in (manifest(), people(), colours(), echo())
]


@pytest.mark.parametrize(
    "document",
    [
        endpoint_document(MODELS),
        endpoint_document([]),
        management_document(),
        *(model_document(each) for each in MODELS),
    ],
    ids=lambda document: document["info"]["title"],
)
def test_every_document_is_valid_and_refers_to_what_is_there(document: dict[str, Any]) -> None:
    validate(document)
    text = json.dumps(document)
    for kind, names in document["components"].items():
        assert set(_referred(text, kind)) <= names.keys()


def _referred(text: str, kind: str) -> list[str]:
    return [part.partition('"')[0] for part in text.split(f"#/components/{kind}/")[1:]]


def _claimed(paths: dict[str, Any]) -> set[str]:
    """First segments of the paths; those that begin with a model's name are any."""
    first = {path[1:].partition("/")[0] for path in paths}
    return {ANY_SEGMENT if segment.startswith("{") else segment for segment in first}


@pytest.mark.parametrize("manner", ["torchserve", "mms"])
def test_the_endpoint_s_document_has_the_paths_of_all_dialects_and_no_others(manner: Any) -> None:
    # TensorFlow Serving's words are taken in any case.
    segments = {segment.lower() for dialect in http_dialects(manner) for segment in dialect.segments}
    assert _claimed(endpoint_document(MODELS)["paths"]) == segments


def test_the_management_port_s_document_has_the_paths_of_its_dialects_and_its_own() -> None:
    segments = {segment for dialect in management_dialects("torchserve") for segment in dialect.segments}
    assert _claimed(management_document()["paths"]) == segments | {"api", "metrics"}


@pytest.mark.parametrize(
    ("document", "dialects"),
    [
        (endpoint_document(MODELS), http_dialects("torchserve")),
        (management_document(), management_dialects("torchserve")),
    ],
)
def test_every_operation_is_one_that_its_dialect_knows(document: dict[str, Any], dialects: list[HttpDialect]) -> None:
    by_segment = {segment: dialect for dialect in dialects for segment in dialect.segments}
    unknown = []
    for path, methods in document["paths"].items():
        filled = path.format(model="double", version="1", label="stable", version_or_label="1", repository="r")
        dialect = by_segment.get(filled[1:].partition("/")[0], by_segment.get(ANY_SEGMENT))
        if path.startswith("/api/") or path == METRICS_PATH:
            continue
        assert dialect is not None
        for method in methods.keys() - {"parameters"}:
            try:
                dialect.decode(HttpRequest(method.upper(), filled, b"", {}.get))
            except NoSuchRoute as error:
                unknown.append(f"{method} {path}: {error.message}")
            except OnegateError:
                pass
    assert unknown == []


def test_operations_have_ids_of_their_own_and_a_tag() -> None:
    operations = [
        operation
        for methods in endpoint_document(MODELS)["paths"].values()
        for method, operation in methods.items()
        if method != "parameters"
    ]
    ids = [operation["operationId"] for operation in operations]
    assert len(ids) == len(set(ids))
    assert all(operation["tags"] for operation in operations)


# -- schemas of tensors ------------------------------------------------------------------------------------------------


def test_a_tensor_is_nested_lists_with_its_fixed_sizes() -> None:
    assert tensor_schema(TensorSpec("x", "UINT8", (-1, 2))) == {
        "description": "UINT8[-1, 2]",
        "type": "array",
        "items": {
            "type": "array",
            "minItems": 2,
            "maxItems": 2,
            "items": {"type": "integer", "minimum": 0, "maximum": 255},
        },
    }


@pytest.mark.parametrize(
    ("datatype", "element"),
    [
        ("BOOL", {"type": "boolean"}),
        ("INT8", {"type": "integer", "minimum": -128, "maximum": 127}),
        ("UINT64", {"type": "integer", "minimum": 0, "maximum": 2**64 - 1}),
        ("FP16", {"type": "number"}),
        ("BF16", {"type": "number"}),
        ("FP64", {"type": "number"}),
        ("BYTES", {"type": "string"}),
    ],
)
def test_an_element_is_json_s_nearest_kind(datatype: str, element: dict[str, Any]) -> None:
    assert tensor_schema(TensorSpec("x", datatype, ())) == {**element, "description": f"{datatype}[]"}


@pytest.mark.parametrize(
    ("body", "fits"),
    [
        ({"x": [[1, 2]]}, True),
        ({"x": [1, 2]}, True),
        ([[1, 2], [3, 4]], True),
        ([1, 2], True),
        ({"y": [1, 2]}, False),
        ({"x": [1, 2], "y": [1, 2]}, False),
        ({"x": [1, 2, 3]}, False),
        ({"x": ["a", "b"]}, False),
        (1, False),
    ],
)
def test_the_schema_of_inputs_admits_what_the_endpoint_does(body: Any, fits: bool) -> None:
    schema = inputs_schema(manifest().signatures["serving_default"])
    assert jsonschema.Draft202012Validator(schema).is_valid(body) is fits


def test_a_model_s_own_path_takes_what_it_takes() -> None:
    paths = endpoint_document(MODELS)["paths"]
    taken = {
        name: set(paths[f"/predict/{name}"]["post"]["requestBody"]["content"]) for name in ("double", "people", "echo")
    }
    tensors = {"application/json", "text/csv", "application/x-npz", "multipart/form-data", "application/octet-stream"}
    assert taken == {"double": tensors | {"application/x-npy"}, "people": tensors, "echo": {"*/*"}}
    assert "image/*" in paths["/predict/colours"]["post"]["requestBody"]["content"]
    for name in ("double", "colours"):
        assert set(paths[f"/predict/{name}"]["post"]["responses"]["200"]["content"]) == {"application/json", "text/csv"}


# -- over HTTP ---------------------------------------------------------------------------------------------------------


@pytest.fixture
async def port(tmp_path: Path, free_port: int) -> AsyncIterator[int]:
    async with serving(tmp_path, free_port, [ApiDescription()]):
        yield free_port


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/openapi.json"), ("GET", "/api-description"), ("OPTIONS", "/"), ("GET", "/openapi.json/")],
)
async def test_the_document_is_where_clients_look_for_it(port: int, method: str, path: str) -> None:
    status, headers, content = await call(port, method, path)
    document = json.loads(content)
    assert (status, headers["content-type"], document["openapi"]) == (200, "application/json", "3.1.0")
    assert document["components"]["parameters"]["model"]["schema"]["enum"] == ["double", "people", "colours", "echo"]
    assert document["components"]["schemas"]["double.outputs"]["required"] == ["y"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 405), ("POST", "/openapi.json", 405), ("GET", "/openapi.json/more", 404)],
)
async def test_other_calls_are_refused(port: int, method: str, path: str, status: int) -> None:
    got, _, content = await call(port, method, path)
    message = {404: "Not Found", 405: "Method Not Allowed"}[status]
    assert (got, json.loads(content)) == (status, {"error": message, "kind": "NoSuchRoute"})
