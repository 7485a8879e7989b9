"""Handlers of archives as their servers would run them: what comes in, what goes out, which statuses failures have."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from model_store.errors import InvalidInput, SourceError
from serve.inference import Payload
from serve.payloads import to_tensors
from serve.runtimes.handler import HandlerRuntime
from tests.serve.handler_archives import (
    Start,
    ask,
    folder_of,
    handler_manifest,
    starting,
)
from tests.serve.tiny_versions import manifest

STATUS_BY_BODY = """
    def handle(data, context):
        if data is None:
            return None
        for index, request in enumerate(data):
            context.set_http_response_status(int(request["body"]), "as asked", index)
        return [{"asked": int(request["body"])} for request in data]
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with starting(tmp_path) as start:
        yield start


def error_of(answer: Payload) -> tuple[int, str, str]:
    assert answer.content_type == "application/json"
    said = json.loads(answer.body)
    assert said["code"] == answer.status
    return answer.status, said["type"], said["message"]


def test_each_request_of_a_batch_has_its_own_status(start: Start) -> None:
    answers = ask(start(STATUS_BY_BODY), b"200", b"404", b"210")
    assert [answer.status for answer in answers] == [200, 404, 210]
    assert json.loads(answers[1].body) == {"asked": 404}


def test_a_batch_larger_than_the_handlers_is_split(start: Start) -> None:
    code = """
        def handle(data, context):
            return None if data is None else [str(len(data)) for request in data]
    """
    assert [answer.body for answer in ask(start(code, batch_size=2), *[b""] * 5)] == [b"2", b"2", b"2", b"2", b"1"]


def test_no_rows_are_no_batch(start: Start) -> None:
    runtime = start("def handle(data, context):\n    assert data is None")
    empty = {name: column[:0] for name, column in to_tensors(Payload(b"", "")).items()}
    assert {name: len(column) for name, column in runtime.run(empty).items()} == dict.fromkeys(
        ("body", "content_type", "headers", "status"), 0
    )


@pytest.mark.parametrize(
    ("result", "content_type", "body"),
    [
        ("b'\\x00\\xff'", "application/octet-stream", b"\x00\xff"),
        ("bytearray(b'ab')", "application/octet-stream", b"ab"),
        ("'grün'", "text/plain; charset=utf-8", "grün".encode()),
        ("{'a': [1, 2.5]}", "application/json", b'{\n  "a": [\n    1,\n    2.5\n  ]\n}'),
        ("[1]", "application/json", b"[\n  1\n]"),
        ("None", "application/json", b"null"),
        ("{'n': __import__('numpy').arange(2)}", "application/json", b'{\n  "n": [\n    0,\n    1\n  ]\n}'),
        ("__import__('numpy').float32(0.5)", "application/json", b"0.5"),
    ],
)
def test_a_results_type_decides_body_and_content_type(
    start: Start, result: str, content_type: str, body: bytes
) -> None:
    code = f"def handle(data, context):\n    return None if data is None else [{result}]"
    (answer,) = ask(start(code), b"")
    assert (answer.content_type, answer.body, answer.status) == (content_type, body, 200)


def test_parameters_are_decoded_by_their_content_type(start: Start) -> None:
    code = """
        def handle(data, context):
            return None if data is None else [repr(request) for request in data]
    """
    answers = ask(
        start(code),
        Payload(b'{"x": 1}', "application/json; charset=utf-8"),
        Payload(b"plain", "text/plain"),
        Payload(b"\xff\xd8", "image/jpeg"),
        Payload(b"{broken", "application/json"),
        Payload(b"", "multipart/form-data", fields={"img1": b"\x01", "img2": b"two"}),
        Payload(b"raw", "", fields={"n": b"3"}),
        Payload(
            b"",
            "",
            fields={"text": b"hi", "json": b"[1]"},
            field_types={"text": "text/plain", "json": "application/json"},
        ),
    )
    assert [answer.body.decode() for answer in answers] == [
        "{'body': {'x': 1}}",
        "{'body': 'plain'}",
        "{'body': b'\\xff\\xd8'}",
        "{'body': b'{broken'}",
        "{'img1': b'\\x01', 'img2': b'two'}",
        "{'n': b'3', 'body': b'raw'}",
        "{'text': 'hi', 'json': [1]}",
    ]


def test_the_context_tells_of_model_and_request(start: Start) -> None:
    code = """
        import os
        def handle(data, context):
            if data is None:
                return None
            context.metrics.add_counter("seen", 1)
            context.metrics.add_time("took", 1.5, 0, "ms")
            context.metrics.add_size("size", 1, unit="kB")
            context.metrics.add_percent("share", 50)
            context.metrics.add_error("none", "at all")
            context.metrics.add_metric("other", 1, unit="things")
            properties = context.system_properties
            context.set_response_content_type(0, "text/csv")
            return [[
                context.model_name, context.manifest["model"]["modelName"], properties["batch_size"],
                properties["gpu_id"], properties["server_name"], os.path.samefile(properties["model_dir"], os.getcwd()),
                context.get_request_id(0), context.request_processor[0].get_request_property("X-Tenant"),
                context.get_response_content_type(0), context.get_http_response_status(0),
            ]]
    """
    runtime = start(code, batch_size=4, properties={"model_name": "squeezed"})
    (answer,) = ask(runtime, Payload(b"", "", headers={"x-tenant": "acme", "X-Request-Id": "r-1"}))
    assert json.loads(answer.body) == [
        "squeezed", "echo", 4, None, "MMS", True, "r-1", "acme", "text/csv", [200, None]
    ]  # fmt: skip
    assert answer.content_type == "text/csv"


def test_torchserves_context_has_config_headers_and_explain(start: Start, tmp_path: Path) -> None:
    code = """
        def handle(data, context):
            if data is None:
                return None
            context.set_response_header(0, "X-Model", "m")
            context.set_all_response_status(202)
            context.metrics.add_metric("n", 1, "count", None, [], "counter")
            context.metrics.get_metric("kept", "counter").add_or_update(2, ["dimension"])
            return [[context.model_yaml_config["answers"], context.get_all_request_header(0)["explain"],
                     context.get_response_status(0)[0]]]
    """
    files = {"service.py": code, "model-config.yaml": "answers: {a: 1}\nstartupTimeout: 60\nsince: 2024-01-02\n"}
    archive = {"createdOn": "01/02/2024 00:00:00", "model": {"modelName": "m", "configFile": "model-config.yaml"}}
    runtime = HandlerRuntime(
        folder_of(tmp_path / "archive", files, archive), handler_manifest("torchserve", "service.py"), threads=1
    )
    (answer,) = ask(runtime, Payload(b"", "", headers={"explain": "True"}))
    runtime.close()
    assert json.loads(answer.body) == [{"a": 1}, "True", 202]
    assert (answer.headers, answer.status) == ({"X-Model": "m"}, 202)


@pytest.mark.parametrize(
    ("failing", "expected"),
    [
        (
            "from mms.service import PredictionException; raise PredictionException('no such colour', 422)",
            (422, "no such colour"),
        ),
        ("from mms.service import PredictionException; raise PredictionException('broken')", (500, "broken")),
        ("raise MemoryError", (507, "Out of resources")),
        ("raise KeyError('x')", (503, "Prediction failed")),
        ("return 'text'", (503, "Invalid model predict output")),
        ("return [1]", (503, "number of batch response mismatched")),
        ("return [1, object()]", (503, "Unsupported model output data type.")),
    ],
)
def test_a_failing_handler_fails_every_request_of_its_batch(
    start: Start, failing: str, expected: tuple[int, str]
) -> None:
    runtime = start(f"def handle(data, context):\n    if data is not None:\n        {failing}")
    answers = ask(runtime, b"", b"")
    assert [error_of(answer) for answer in answers] == [(expected[0], "InternalServerException", expected[1])] * 2
    assert error_of(ask(runtime, b"", b"")[0])[0] == expected[0]


@pytest.mark.parametrize(
    ("does", "expected"),
    [
        ("import numpy; context.set_http_response_status(numpy.int64(201))", (201, "text/plain; charset=utf-8", {})),
        ("context.set_http_response_status('404')", (404, "text/plain; charset=utf-8", {})),
        ("context.set_http_response_status(None)", (500, "text/plain; charset=utf-8", {})),
        ("context.set_response_content_type(0, b'text/csv')", (200, "text/csv", {})),
        ("context.set_response_header(0, 'X-A', '\\ud800')", (200, "text/plain; charset=utf-8", {"X-A": "?"})),
    ],
)
def test_what_a_handler_says_beside_its_result_may_be_of_any_type(
    start: Start, does: str, expected: tuple[int, str, dict[str, str]]
) -> None:
    code = f"def handle(data, context):\n    if data is not None:\n        {does}\n        return ['done']"
    runtime = start(code)
    pid = runtime.pid
    (answer,) = ask(runtime, b"")
    assert (answer.status, answer.content_type, answer.headers, answer.body) == (*expected, b"done")
    assert runtime.pid == pid


@pytest.mark.parametrize(
    ("fails", "status", "message"),
    [
        ("raise PredictionException(ValueError('odd'), '422')", 422, "odd"),
        ("raise PredictionException(b'odd', float('inf'))", 500, "odd"),
        ("return ['\\ud800']", 503, "Unsupported model output data type."),
        (
            "nested = []; [nested := [nested] for _ in range(100_000)]; return [nested]",
            503,
            "Unsupported model output data type.",
        ),
        ("context.request_processor = None; return ['a']", 503, "Prediction failed"),
    ],
)
def test_an_answer_that_cant_be_sent_costs_the_handler_nothing_but_its_batch(
    start: Start, fails: str, status: int, message: str
) -> None:
    head = "from mms.service import PredictionException\ndef handle(data, context):\n    if data is not None:\n        "
    runtime = start(head + fails)
    pid = runtime.pid
    assert error_of(ask(runtime, b"")[0]) == (status, "InternalServerException", message)
    assert runtime.pid == pid


def test_torchserve_answers_cuda_errors_as_want_of_memory(start: Start) -> None:
    code = """
        from ts.utils.util import PredictionException
        def handle(data, context):
            if data is not None and data[0]["body"] == b"own":
                raise PredictionException("teapot", 418)
            if data is not None:
                raise RuntimeError("CUDA error: out of memory")
    """
    runtime = start(code, "torchserve")
    assert error_of(ask(runtime, b"")[0]) == (507, "InternalServerException", "Out of resources")
    assert error_of(ask(runtime, b"own")[0]) == (418, "InternalServerException", "teapot")


def test_a_handler_can_t_answer_with_an_error_of_the_gateway(start: Start) -> None:
    code = """
        def handle(data, context):
            if data is None:
                return None
            context.set_response_header(0, "Onegate-Error", "ModelNotFound")
            return ["fine"]
    """
    (answer,) = ask(start(code), b"")
    assert (answer.body, answer.headers, answer.status) == (b"fine", {}, 200)


def test_a_status_that_http_does_not_have_becomes_500(start: Start) -> None:
    assert [answer.status for answer in ask(start(STATUS_BY_BODY), b"42", b"700")] == [500, 500]


def test_a_handler_that_knows_no_batches_reports_for_all_of_it(start: Start) -> None:
    code = """
        def handle(data, context):
            if data is None:
                return None
            request_processor = context.request_processor
            request_processor.report_status(500, "Unknown inference error")
            request_processor.add_response_property("X-Kind", request_processor.get_request_property("x-kind"))
            return ["failed"] * len(data)
    """
    answers = ask(start(code), Payload(b"", "", headers={"x-kind": "a"}), Payload(b"", "", headers={"x-kind": "b"}))
    assert [(answer.status, answer.headers, answer.body) for answer in answers] == [
        (500, {"X-Kind": "a"}, b"failed")
    ] * 2


def test_parts_that_are_sent_early_come_before_the_rest(start: Start) -> None:
    code = """
        from ts.handler_utils.utils import send_intermediate_predict_response
        def handle(data, context):
            if data is None:
                return None
            send_intermediate_predict_response(["a", "b"], context.request_ids, "", 200, context)
            return ["A", "B"]
    """
    assert [answer.body for answer in ask(start(code, "torchserve"), b"", b"")] == [b"aA", b"bB"]


def test_rows_that_are_no_payloads_are_the_callers_mistake(start: Start) -> None:
    runtime = start(STATUS_BY_BODY)
    row = to_tensors(Payload(b"200", "")) | {"headers": np.array([b"[]"], dtype=object)}
    with pytest.raises(InvalidInput, match="headers: expected a JSON object"):
        runtime.run(row)


def test_a_version_without_a_handler_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="names no handler"):
        HandlerRuntime(tmp_path, manifest(), threads=1)
