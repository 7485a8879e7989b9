"""Right requests of every HTTP dialect: what the fuzzers change."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from tests.serve.fuzzing.bodies import CSV, FORMS, JSON, MANY_PARTS, NPY, OCTETS, PICTURES, URLENCODED, packed
from tests.serve.fuzzing.inputs import HttpInput
from tests.serve.fuzzing.models import ALL_KINDS

PICTURE = "colours"
COLUMNS = {"age": [[31], [4]], "city": [["Ulm"], ["Łódź"]], "income": [[1.5], [-2e3]]}


def _post(path: str, content: Any, *headers: tuple[str, str], query: str = "", method: str = "POST") -> HttpInput:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return HttpInput(method, path, query, headers, body)


def _get(path: str, query: str = "", method: str = "GET") -> HttpInput:
    return HttpInput(method, path, query)


# -- Open Inference --------------------------------------------------------------------------------------------------


def _tensor(name: str, datatype: str, shape: list[int], data: Any = None, **parameters: Any) -> dict[str, Any]:
    described: dict[str, Any] = {"name": name, "datatype": datatype, "shape": shape}
    if data is not None:
        described["data"] = data
    return {**described, "parameters": parameters} if parameters else described


X = _tensor("x", "FP32", [2, 2], [1.5, -2, 0, 3e8])


ROW = [
    _tensor("body", "BYTES", [1], ["[1, 2]"]),
    _tensor("content_type", "BYTES", [1], ["application/json"]),
    _tensor("fields", "BYTES", [1], ['{"age": "WzFd", "city": ["VWxt", "text/plain"]}']),
    _tensor("headers", "BYTES", [1], ['{"accept": "text/csv", "explain": "True", "x-own": "1"}']),
]
"""A raw body as a row of the signature `payload`."""


def _binary(header: Mapping[str, Any], raw: bytes) -> HttpInput:
    text = json.dumps(header).encode()
    return _post("/v2/models/double/infer", text + raw, ("inference-header-content-length", str(len(text))))


def _all_kinds() -> HttpInput:
    raw = {"BYTES": b"\x01\0\0\0a\0\0\0\0"}
    parts = [raw.get(spec.datatype, bytes(2 * _size(spec.datatype))) for spec in ALL_KINDS]
    inputs = [
        _tensor(spec.name, spec.datatype, [1, 2], binary_data_size=len(part))
        for spec, part in zip(ALL_KINDS, parts, strict=True)
    ]
    request = _binary({"inputs": inputs, "parameters": {"binary_data_output": True}}, b"".join(parts))
    return HttpInput("POST", "/v2/models/kinds/infer", "", request.headers, request.body)


def _size(datatype: str) -> int:
    digits = "".join(filter(str.isdigit, datatype))
    return int(digits) // 8 if digits else 1


V2 = [
    _post("/v2/models/double/infer", {"inputs": [X]}),
    _post(
        "/v2/models/double/versions/3/infer",
        {
            "id": "a1",
            "inputs": [{**X, "data": [[1, 2], [3, 4]]}],
            "outputs": [{"name": "y", "parameters": {"binary_data": True}}],
            "parameters": {"priority": 1, "timeout": 60_000_000, "signature": "serving_default", "own": "text"},
        },
    ),
    _post(
        "/v2/models/double/infer",
        {"inputs": [_tensor("ids", "INT64", [2], [1, 2])], "parameters": {"signature": "other"}},
    ),
    _post(
        "/v2/models/people/infer",
        {
            "inputs": [
                _tensor("age", "INT64", [2, 1], [31, 4]),
                _tensor("city", "BYTES", [2, 1], ["Ulm", "Łódź"]),
                _tensor("income", "FP32", [2, 1], [1.5, -2e3]),
            ],
            "outputs": [{"name": "sum"}, {"name": "text", "parameters": {"binary_data": False}}],
        },
    ),
    _post(
        "/v2/models/colours/infer",
        {
            "inputs": [_tensor("data", "FP32", [1, 3, 2, 2], list(range(12)))],
            "outputs": [{"name": "prob", "parameters": {"classification": 2}}],
        },
    ),
    _post(
        "/v2/models/fixed/infer",
        {"inputs": [_tensor("v", "FP32", [3], [1, 2, 3]), _tensor("n", "INT64", [], [7])]},
    ),
    _post(
        "/v2/models/ragged/infer",
        {"inputs": [_tensor("f", "FP32", [1, 3], [1, 2, 3]), _tensor("s", "BYTES", [1, 0], [])]},
    ),
    _post("/v2/models/cached/infer", {"inputs": [X]}),
    _post("/v2/models/broken/infer", {"inputs": [X]}),
    _all_kinds(),
    *(
        _post(f"/v2/models/{model}/infer", {"inputs": ROW, "parameters": {"signature": "payload"}})
        for model in ("double", "people", "colours", "echo")
    ),
    _binary(
        {"inputs": [_tensor("x", "FP32", [1, 2], binary_data_size=8)], "parameters": {"binary_data_output": True}},
        np.array([1.5, -2], "<f4").tobytes(),
    ),
    _post("/v2/models/text/infer", b"anything", ("inference-header-content-length", "0")),
    _post("/v2/models/cached/infer", bytes(8), ("inference-header-content-length", "0")),
    _post(
        "/v2/models/double/infer",
        packed(json.dumps({"inputs": [X]}).encode(), "gzip"),
        ("content-encoding", "gzip"),
        ("accept-encoding", "gzip;q=0.5, deflate"),
    ),
    *map(_get, ("/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/double", "/v2/models/stats")),
    *(_get(f"/v2/models/double/versions/3{rest}") for rest in ("", "/ready", "/config", "/stats")),
    *(_get(f"/v2/models/people/{rest}") for rest in ("ready", "config", "stats", "trace/setting")),
    *map(_get, ("/v2/logging", "/v2/systemsharedmemory/status", "/v2/cudasharedmemory/region/a/status")),
    _post("/v2/repository/index", {"ready": True}),
    _post(
        "/v2/repository/models/double/load",
        {
            "parameters": {
                "config": json.dumps(
                    {
                        "name": "double",
                        "backend": "onnxruntime",
                        "max_batch_size": 8,
                        "dynamic_batching": {"preferred_batch_size": [4, 8], "max_queue_delay_microseconds": "100"},
                        "instance_group": [{"count": 2, "kind": "KIND_CPU"}],
                        "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": ["2"]}],
                    }
                ),
                "file:1/model.onnx": "b25ueA==",
            }
        },
    ),
    _post("/v2/repository/models/double/unload", {"parameters": {"unload_dependents": False}}),
]

# -- TensorFlow Serving ----------------------------------------------------------------------------------------------

TENSORFLOW = [
    _post("/v1/models/double:predict", {"instances": [[1.5, -2], [0, 3]]}),
    _post("/v1/models/double/versions/3:predict", {"signature_name": "serving_default", "instances": [{"x": [1, 2]}]}),
    _post("/v1/models/double/labels/stable:predict", {"inputs": {"x": [[1, 2]]}}),
    _post("/v1/models/double:predict", {"inputs": [[1, float("nan")], [float("-inf"), 2]]}),
    _post("/v1/models/double:predict", {"signature_name": "other", "instances": [1, 2, 3]}),
    _post("/v1/models/people:predict", {"inputs": COLUMNS}),
    _post("/v1/models/people:predict", {"instances": [{"age": [1], "city": [{"b64": "VWxt"}], "income": [0.5]}]}),
    _post("/v1/models/fixed:predict", {"inputs": {"v": [1, 2, 3], "n": 7}}),
    _post("/v1/models/ragged:predict", {"inputs": {"f": [[1, 2]], "s": [["a", {"b64": "YQ=="}]]}}),
    _post("/v1/models/text:predict", {"instances": [{"b64": "YWJj"}, "plain"]}),
    _post("/v1/models/kinds:predict", {"instances": [{spec.name: [0, 1] for spec in ALL_KINDS}]}),
    _post("/v1/models/colours:classify", {"examples": [{"data": [float(n) for n in range(12)]}]}),
    _post("/v1/models/text:classify", {"examples": [{"a": ["x", {"b64": "YQ=="}], "b": [1, 2], "c": 0.5}]}),
    _post("/v1/models/text:classify", {"context": {"t": "é"}, "examples": [{"c": float("nan")}]}),
    _post(
        "/v1/models/people:regress",
        {"signature_name": "", "context": {"city": "Ulm"}, "examples": [{"age": [3], "income": [0.5]}]},
    ),
    *(_get(f"/v1/models/double{rest}") for rest in ("", "/metadata", "/versions/3", "/versions/3/metadata")),
    *map(_get, ("/v1/models/double/labels/stable/metadata", "/V1/MODELS/people/Metadata", "/v1/models/broken")),
    HttpInput("OPTIONS", "/v1/models/double:predict", "", (("origin", "https://example.org"),)),
]

# -- MXNet Model Server, TorchServe, SageMaker -----------------------------------------------------------------------

_CALLS = [
    _post("/predictions/double", {"x": [1.5, -2]}, JSON),
    _post("/predictions/double/3", [[1, 2], [3, 4]], JSON, ("x-request-id", "a1"), ("accept", "text/csv")),
    _post("/predictions/people/1.0", COLUMNS, JSON, method="PUT"),
    _post("/predictions/echo", b"\0\1anything", OCTETS, ("x-own", "1"), ("authorization", "Bearer a")),
    _post("/predictions/echo/1.0/rest/of/it", b"a", ("content-type", "text/plain; charset=utf-8")),
    _post("/predictions/kinds", {spec.name: [[0, 1]] for spec in ALL_KINDS}, JSON),
    _post("/predictions/colours", *PICTURES[0]),
    _post("/predictions/people", *FORMS[0]),
    _post("/predictions/echo", *FORMS[1]),
    _post("/predictions/people", *CSV[0]),
    _post("/predictions/double", *NPY[0]),
    _post("/double/predict", *URLENCODED, query="x=%5B1,2%5D"),
    _post("/double/1.0/predict", [1, 2], JSON),
    _post("/invocations", [1, 2], JSON, query="model_name=double"),
    _post("/invocations", *FORMS[1], query="model_name=echo&more=%00%ff"),
    *map(_get, ("/ping", "/ping/", "/openapi.json", "/api-description")),
    *(_get(path, method="OPTIONS") for path in ("/", "/predictions/double", "/models/people/invoke")),
]

_MANAGED = [
    _get("/models", "limit=2&next_page_token=1"),
    *(_get(f"/models/double{rest}") for rest in ("", "/3", "/all")),
    _post(
        "/models", b"", query="url=%2Fexports%2Fnew.mar&model_name=new&initial_workers=2&synchronous=true&batch_size=4"
    ),
    _post(
        "/models",
        {
            "url": "/exports/new.mar",
            "model_name": "new",
            "batch_size": 4,
            "max_batch_delay": 10,
            "initial_workers": 1,
            "synchronous": "true",
            "response_timeout": 5,
            "runtime": "python",
        },
        JSON,
    ),
    _get("/models/double", "min_worker=2&max_worker=3&synchronous=true", "PUT"),
    _get("/models/double/3", "min_worker=1", "PUT"),
    _get("/models/double/3/set-default", method="PUT"),
    _get("/models/double", method="DELETE"),
    _get("/models/double/4", method="DELETE"),
]

TORCHSERVE = [
    *_CALLS,
    *_MANAGED,
    _post("/explanations/echo", b"a", OCTETS),
    _post("/explanations/double/3", [[1, 2]], JSON),
]

MMS = [
    *_CALLS,
    *_MANAGED,
    _post("/models/double/invoke", [1, 2], JSON, ("x-amzn-sagemaker-target-model", "double.tar.gz")),
    _post("/models/echo/invoke", b"a,b\n1,2", CSV[0][1], ("x-amzn-sagemaker-custom-attributes", "a=b")),
    _post("/models", {"model_name": "new", "url": "/opt/ml/models/new/model"}, JSON),
]

# -- this project's own ----------------------------------------------------------------------------------------------

PLAIN = [
    _post("/predict/double", {"x": [1.5, -2]}),
    _post("/predict/double/3", [[1, 2], [3, 4]], JSON, ("accept", "text/csv, application/json;q=0.5")),
    _post("/predict/double/stable", b"1,2\n3,4"),
    _post("/predict/people", COLUMNS, JSON),
    _post("/predict/kinds", {spec.name: [0, 1] for spec in ALL_KINDS}, JSON),
    _post("/predict/fixed", {"v": [1, 2, 3], "n": 7}, JSON),
    _post("/predict/ragged", {"f": [[1, 2], [3, 4]], "s": [["a"], ["b"]]}, JSON),
    _post("/predict/text", b"some text", ("content-type", "text/plain")),
    _post("/predict/cached", [[1, 2]]),
    _post("/predict/echo", b"\0\1anything", OCTETS),
    *(_post("/predict/colours", *picture, method="PUT") for picture in PICTURES[:2]),
    *(_post("/predict/people", *form) for form in FORMS[:1]),
    *(_post("/predict/people", *table) for table in CSV[:2]),
    *(_post("/predict/double", *array) for array in NPY[:2]),
    *(_get(path) for path in ("/openapi.json", "/api-description", "/predict/double")),
    _get("/", method="OPTIONS"),
]

CONFIG = b"""\
store: /store
gateway: {http_port: 8080, max_body_bytes: 1048576}
allowed_sources: ["file:///exports/*"]
models:
  - name: digits
    source: /exports/digits.pt2
    inputs: [{name: data, datatype: FP32, shape: [-1, 3]}]
    convert: {precision: float32, parity: {rtol: 1e-4}, on_failure: native}
    serve: {executor: auto, batching: &b {max_batch_size: 64, max_delay_ms: 0}, deadline_ms: 30000}
  - name: ranker
    serve: {batching: *b}
    versions:
      - {source: /exports/a.txt, label: stable, traffic: 90}
      - {version: 7, shadow: true, traffic: 10}
"""

MANAGEMENT = [
    _post("/api/config", CONFIG, method="PUT"),
    _post("/api/config", CONFIG, query="plan=true&generation=3", method="PUT"),
    _post("/api/config", {"store": "/store", "models": []}, method="PUT"),
    _get("/api/state"),
    _get("/api/models/double/comparison"),
    _get("/api/shutdown", method="POST"),
    _get("/openapi.json"),
    *(request for request in V2 if request.path.startswith("/v2/repository")),
    *_MANAGED,
]

# -- single decoders, each with a model that takes what it reads -----------------------------------------------------

FORM_BODIES = [
    _post(f"/predictions/{model}", *form) for form in [*FORMS, MANY_PARTS, URLENCODED] for model in ("echo", "people")
]
CSV_BODIES = [
    *(_post(f"/predict/{model}", *table) for table in CSV for model in ("people", "double")),
    _post("/predict/cached", *CSV[2], ("accept", "text/csv")),
]
NPY_BODIES = [
    *(_post("/predict/double", *array) for array in NPY),
    _post("/predict/text", *NPY[2]),
    _post("/predict/people", *NPY[5]),
    _post("/predict/people", *NPY[5], ("accept", "text/csv")),
]
PICTURE_BODIES = [_post("/predict/colours", *picture) for picture in PICTURES]
COMPRESSED_BODIES = [
    _post("/predict/text", packed(content, encoding), ("content-encoding", encoding), ("content-type", "text/plain"))
    for content in (b"short", bytes(100_000), bytes(4 << 20), b"")
    for encoding in ("gzip", "deflate", "x-gzip")
] + [
    _post(
        "/predict/text",
        packed(b"a", "gzip") * 3,
        ("content-encoding", " identity , GZIP"),
        ("transfer-encoding", "chunked"),
    ),
    _post("/predict/text", b"a" * 3000, ("accept-encoding", "br, gzip;q=0.2, *;q=0.1, identity;q=0")),
]
