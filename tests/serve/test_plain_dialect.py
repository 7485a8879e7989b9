"""`POST /predict` on a real socket: each kind of body, each kind of model, and what is refused."""

from __future__ import annotations

import asyncio
import io
import json
import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_store.errors import (
    DeadlineExceeded,
    Forbidden,
    InternalError,
    InvalidInput,
    ModelNotFound,
    ModelNotReady,
    OnegateError,
    Overloaded,
    PayloadTooLarge,
)
from serve.dialects.base import HttpRequest
from serve.dialects.plain import Plain
from tests.serve.front_doors.http_calls import call
from tests.serve.pictures import GREEN, photograph
from tests.serve.served_models import serving

CURL = "application/x-www-form-urlencoded"


@pytest.fixture
async def port(tmp_path: Path, free_port: int) -> AsyncIterator[int]:
    async with serving(tmp_path, free_port, [Plain()], max_body_bytes=100_000):
        yield free_port


async def predict(port: int, path: str, body: bytes, content_type: str | None = "application/json") -> tuple[int, Any]:
    headers = {} if content_type is None else {"content_type": content_type}
    status, told, content = await call(port, "POST", f"/predict/{path}", body, **headers)
    assert told["content-type"] == "application/json"
    return status, json.loads(content)


def npy(values: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array(values))
    return file.getvalue()


DOUBLED = {"model": "double", "version": "1.0", "outputs": {"y": [[2, 4]]}}


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b'{"x": [[1, 2]]}'),
        ("application/json", b"[[1, 2]]"),
        (CURL, b'{"x": [[1, 2]]}'),
        (CURL, b"1,2"),
        (CURL, b"x=[[1, 2]]"),
        (None, b"[[1, 2]]"),
        ("text/csv", b"a,b\n1,2\n"),
        ("application/x-npy", npy([[1, 2]])),
        (CURL, npy([[1, 2]])),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="x.csv"\r\nContent-Type: text/csv\r\n\r\n1,2'
            b"\r\n--b--\r\n",
        ),
    ],
)
async def test_each_kind_of_body_is_answered_by_name(port: int, content_type: str | None, body: bytes) -> None:
    assert await predict(port, "double", body, content_type) == (200, DOUBLED)


@pytest.mark.parametrize("path", ["double", "double/", "double/1", "double/1.0", "double/stable"])
async def test_a_version_or_a_label_may_follow_the_model(port: int, path: str) -> None:
    assert await predict(port, path, b"[[1, 2]]") == (200, DOUBLED)


async def test_one_row_is_answered_as_one_row(port: int) -> None:
    assert (await predict(port, "double", b'{"x": [1, 2]}'))[1]["outputs"] == {"y": [2, 4]}


async def test_columns_are_inputs_and_an_empty_number_is_nan(port: int) -> None:
    status, answer = await predict(port, "people", b"age,income,city\n40,0.5,Bonn\n50,,Rom\n", "text/csv")
    assert (status, answer["outputs"]["text"], answer["outputs"]["sum"][0]) == (200, [["Bonn"], ["Rom"]], [40.5])
    assert math.isnan(answer["outputs"]["sum"][1][0])


async def test_the_answer_is_csv_for_clients_that_ask_for_it(port: int) -> None:
    for path, body, lines in [("double", b"[1, 2]", b"2.0,4.0\n"), ("people", b"40,Bonn,0.5\n", b"40.5,Bonn\n")]:
        status, headers, content = await call(port, "POST", f"/predict/{path}", body, accept="text/csv")
        assert (status, headers["content-type"], content) == (200, "text/csv", lines)


async def test_a_put_is_answered_too(port: int) -> None:
    status, _, content = await call(port, "PUT", "/predict/double", b"[[1, 2]]")
    assert (status, json.loads(content)) == (200, DOUBLED)


@pytest.mark.parametrize("content_type", ["image/jpeg", CURL, "application/octet-stream"])
async def test_a_picture_is_answered_by_the_model_s_processor(port: int, content_type: str) -> None:
    status, best = await predict(port, "colours", photograph(GREEN).body, content_type)
    assert (status, [each["class"] for each in best]) == (200, ["green"])


async def test_a_picture_in_a_form_is_answered_by_the_model_s_processor(port: int) -> None:
    field = b'--b\r\nContent-Disposition: form-data; name="f"\r\n\r\nx\r\n'
    file = b'--b\r\nContent-Disposition: form-data; name="data"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
    body = field + file + photograph(GREEN).body + b"\r\n--b--\r\n"
    assert (await predict(port, "colours", body, "multipart/form-data; boundary=b"))[1][0]["class"] == "green"


async def test_a_file_that_is_alone_in_a_form_may_have_any_name(port: int) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="upload"; filename="a"\r\nContent-Type: %b\r\n\r\n'
    form = "multipart/form-data; boundary=b"
    picture = head % b"image/jpeg" + photograph(GREEN).body + b"\r\n--b--\r\n"
    assert (await predict(port, "colours", picture, form))[1][0]["class"] == "green"
    lines = head % b"application/octet-stream" + b"1,2\r\n--b--\r\n"
    assert await predict(port, "double", lines, form) == (200, DOUBLED)


async def test_a_model_of_pictures_takes_tensors_too(port: int) -> None:
    red = [[[1, 1], [1, 1]], [[0, 0], [0, 0]], [[0, 0], [0, 0]]]
    answer = {"model": "colours", "version": "1.0", "outputs": {"prob": [1, 0, 0]}}
    assert await predict(port, "colours", json.dumps(red).encode()) == (200, answer)
    assert await predict(port, "colours", npy(red), "application/x-npy") == (200, answer)


@pytest.mark.parametrize(("content_type", "body"), [("text/x-own", b"anything"), ("image/png", b"\x89PNG")])
async def test_a_handler_gets_any_body_and_answers_as_it_likes(port: int, content_type: str, body: bytes) -> None:
    status, headers, content = await call(port, "POST", "/predict/echo", body, content_type=content_type)
    assert (status, headers["content-type"], content) == (202, content_type, body)
    assert "x-own" not in headers


async def test_a_handler_gets_the_parts_of_a_form(port: int) -> None:
    _, _, content = await call(port, "POST", "/predict/echo", b"a=1&b=2", content_type=CURL)
    assert content == b"1|2"


@pytest.mark.parametrize(
    ("path", "body", "status", "kind", "message"),
    [
        ("double", b"[[1, 2, 3]]", 400, "InvalidInput", "input 'x': expected FP32[*,2], got FP32[1,3]"),
        ("double", b'{"y": [1, 2]}', 400, "InvalidInput", "the model takes the inputs 'x': FP32[*,2]; got 'y'"),
        ("nobody", b"[[1, 2]]", 404, "ModelNotFound", "model 'nobody' is not served here"),
        ("double/7", b"[[1, 2]]", 404, "ModelNotFound", "model 'double' has no version 7 here; callable: 1.0"),
        ("double/blue", b"[[1, 2]]", 404, "ModelNotFound", "model 'double' has no label 'blue'; labels: stable"),
        ("broken", b"[1]", 503, "ModelNotReady", "model 'broken' can't be called now: its source is damaged"),
        ("", b"[1]", 404, "NoSuchRoute", "Not Found"),
        ("double/1/more", b"[1]", 404, "NoSuchRoute", "Not Found"),
        ("double", bytes(100_001), 413, "PayloadTooLarge", "the body may have 100000 bytes, got 100001 bytes"),
    ],
)
async def test_what_is_wrong_is_told_in_one_line(
    port: int, path: str, body: bytes, status: int, kind: str, message: str
) -> None:
    assert await predict(port, path, body) == (status, {"error": message, "kind": kind})


async def test_a_picture_that_the_processor_cannot_read_is_refused(port: int) -> None:
    for model in ("colours", "double"):
        status, answer = await predict(port, model, b"\xff\xd8\xff\xe0", "image/jpeg")
        assert (status, answer["kind"]) == (400, "InvalidInput")


async def test_another_method_is_refused_with_those_that_are_taken(port: int) -> None:
    status, headers, content = await call(port, "GET", "/predict/double")
    assert (status, headers["allow"]) == (405, "POST, PUT")
    assert json.loads(content) == {"error": "Method Not Allowed", "kind": "NoSuchRoute"}


async def test_requests_of_several_clients_share_batches(tmp_path: Path, free_port: int) -> None:
    async with serving(tmp_path, free_port, [Plain()]):
        answers = await asyncio.gather(*(predict(free_port, "double", f"[{n}, 0]".encode()) for n in range(8)))
    assert [answer["outputs"]["y"] for _, answer in answers] == [[2 * n, 0] for n in range(8)]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidInput("no"), 400),
        (PayloadTooLarge("no"), 413),
        (ModelNotFound("no"), 404),
        (ModelNotReady("no"), 503),
        (Overloaded("no"), 503),
        (DeadlineExceeded("no"), 504),
        (Forbidden("no"), 403),
        (InternalError("no"), 500),
    ],
)
def test_each_kind_of_error_has_its_status(error: OnegateError, status: int) -> None:
    reply = Plain().encode_error(HttpRequest("POST", "/predict/double", b"", {}.get), error)
    assert (reply.status, json.loads(reply.body)) == (status, {"error": "no", "kind": type(error).__name__})


def test_overload_says_when_to_come_again() -> None:
    reply = Plain().encode_error(
        HttpRequest("POST", "/predict/double", b"", {}.get), Overloaded("no", retry_after_s=2.2)
    )
    assert ("retry-after", "3") in reply.headers
