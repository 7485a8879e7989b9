"""The processor `json`: bodies of one row or a batch, one input or several, each datatype, and what is refused."""

from __future__ import annotations

import io
import json
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from model_store.errors import InvalidInput
from model_store.manifest import TensorSpec
from serve.inference import Payload
from serve.processors import json_tensors
from serve.processors.base import load_processor
from serve.processors.tensor_bodies import BodyForm, TensorBodies
from tests.serve.tiny_versions import manifest

X, N = TensorSpec("x", "FP32", (-1, 2)), TensorSpec("n", "INT64", (-1,))
TEXT = TensorSpec("s", "BYTES", (-1,))


def processor(*inputs: TensorSpec) -> TensorBodies:
    found = load_processor(manifest(inputs=inputs or (X,)))
    assert isinstance(found, TensorBodies)
    return found


def read(body: Any, *inputs: TensorSpec, **payload: Any) -> tuple[dict[str, list[Any]], bool]:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    tensors, form = processor(*inputs).decode(Payload(text, **{"content_type": "application/json", **payload}))
    return {name: tensor.tolist() for name, tensor in tensors.items()}, form.row


@pytest.mark.parametrize(
    ("body", "inputs", "expected"),
    [
        ({"x": [1, 2]}, [X], ({"x": [[1, 2]]}, True)),
        ({"x": [[1, 2], [3, 4]]}, [X], ({"x": [[1, 2], [3, 4]]}, False)),
        ([1, 2], [X], ({"x": [[1, 2]]}, True)),
        ([[1, 2]], [X], ({"x": [[1, 2]]}, False)),
        (7, [N], ({"n": [7]}, True)),
        ([7, 8], [N], ({"n": [7, 8]}, False)),
        ({"x": [1, 2], "n": 7}, [X, N], ({"x": [[1, 2]], "n": [7]}, True)),
        ({"n": [7], "x": [1, 2]}, [X, N], ({"x": [[1, 2]], "n": [7]}, False)),
        ("hello", [TEXT], ({"s": [b"hello"]}, True)),
        (["a", "[b"], [TEXT], ({"s": [b"a", b"[b"]}, False)),
    ],
)
def test_values_are_one_row_or_a_batch_by_their_nesting(body: Any, inputs: list[TensorSpec], expected: Any) -> None:
    assert read(body, *inputs) == expected


def test_free_sizes_are_told_by_the_values() -> None:
    assert read([[1, 2, 3], [4, 5, 6]], TensorSpec("x", "INT32", (-1, -1)))[0] == {"x": [[1, 2, 3], [4, 5, 6]]}
    assert read([[[1], [2]]], TensorSpec("x", "INT32", (-1, -1, 1)))[0] == {"x": [[[1], [2]]]}


def test_a_model_without_a_batch_dimension_takes_its_whole_tensor() -> None:
    assert read([[1, 2, 3]], TensorSpec("x", "FP32", (1, 3))) == ({"x": [[1, 2, 3]]}, False)
    assert read({"x": 5}, TensorSpec("x", "INT8", ())) == ({"x": 5}, False)


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_narrow_floats_are_written_as_numbers(datatype: str) -> None:
    assert read([1.5], TensorSpec("x", datatype, (-1,))) == ({"x": [1.5]}, False)
    with pytest.raises(InvalidInput, match=rf"^input 'x': expected {datatype}, got float32 values that do not fit$"):
        read([3.4e38 if datatype == "BF16" else 1e6], TensorSpec("x", datatype, (-1,)))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"x": b"[1, 2]"}, [[1, 2]]),
        ({"body": b'{"x": [1, 2]}'}, [[1, 2]]),
        ({"data": b"[[1, 2]]"}, [[1, 2]]),
    ],
)
def test_a_form_names_the_input_or_holds_the_body(fields: dict[str, bytes], expected: Any) -> None:
    assert read(b"", fields=fields)[0] == {"x": expected}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "input 'x': FP32[*,2]: expected JSON, got nothing (Input data was truncated)"),
        (
            b"notjson",
            "input 'x': FP32[*,2]: expected JSON, got 'notjson' (JSON is malformed: invalid character (byte 1))",
        ),
        (b"3", "input 'x': expected values nested 2 deep, or 1 for one row, got 0: 'x': FP32[*,2]"),
        (b"[[[1, 2]]]", "input 'x': expected values nested 2 deep, or 1 for one row, got 3: 'x': FP32[*,2]"),
        (b"[1, 2, 3]", "input 'x': expected FP32[*,2], got FP32[1,3]"),
        (b'{"y": [1, 2]}', "the model takes the inputs 'x': FP32[*,2]; got 'y'"),
        (b"{}", "the model takes the inputs 'x': FP32[*,2]; got none"),
        (b"[]", "input 'x': expected FP32[*,2], got FP32[1,0]"),
        (b"[[1, 2], [3]]", "input 'x': FP32[*,2]: expected lists of one length, got others"),
        (b'["a", "b", "c"]', "input 'x': no FP32 values: Expected `float`, got `str` - at `$[0][0]`"),
        (
            b"[NaN, 1]",
            "input 'x': FP32[*,2]: expected JSON, got '[NaN, 1]' (JSON is malformed: invalid character (byte 1))",
        ),
    ],
)
def test_what_is_no_tensor_of_the_model_is_refused(body: bytes, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(body)
    assert caught.value.message == message


@pytest.mark.parametrize("body", [b'["\xff", 1]', b"[1e400, 1]"])
def test_texts_and_numbers_that_json_has_not_are_no_json(body: bytes) -> None:
    with pytest.raises(InvalidInput, match=r"^input 'x': FP32\[\*,2\]: expected JSON, got "):
        read(body)


MANY = b"[1, 2], " * (json_tensors.EXPLAINED_BYTES // 8)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"[" + MANY + b"[3, 4, 5]]", "input 'x': FP32[*,2]: expected values of that shape, got another"),
        (b"[" + MANY + b"[3]]", "input 'x': FP32[*,2]: expected values of that shape, got another"),
        (b"[" + MANY + b"3]", "input 'x': no FP32 values: Expected `array`, got `int` - at `$[131072]`"),
        (b"[" + MANY + b'[3, "a"]]', "input 'x': no FP32 values: Expected `float`, got `str` - at `$[131072][1]`"),
        (b"[" + MANY + b"[3, 1e400]]", "input 'x': no FP32 values: Number out of range - at `$[131072][1]`"),
        (
            b"[" + MANY + b"[3, 4]",
            "input 'x': FP32[*,2]: expected JSON, got '[[1, 2], [1, 2], [1, 2], [1, 2], [1, 2], [1, 2], [1, 2], [1 "
            "(Input data was truncated)",
        ),
    ],
)
def test_many_values_are_refused_without_decoding_them_anew(
    body: bytes, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_tensors, "_decode", lambda _: pytest.fail("all of it is decoded once more"))
    with pytest.raises(InvalidInput) as caught:
        read(body)
    assert caught.value.message == message


def test_what_is_no_json_is_told_without_decoding_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_tensors, "_decode", lambda _: pytest.fail("all of it is decoded once more"))
    with pytest.raises(InvalidInput, match=r"expected JSON, got '\[1, 2' \(Input data was truncated\)$"):
        read(b"[1, 2")


@pytest.mark.parametrize("body", [b'{"x": [1, 2}', b"\xff\xd8\xff\xe0", b'["a", "b"]', b"[NaN, 1]", b"[true, 1]", b"["])
def test_what_is_no_json_or_of_another_type_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        read(body)


@pytest.mark.parametrize(
    ("body", "spec", "count"), [(b"", N, 0), (b" ", TEXT, 0), (b"7, 8", N, 2), (b"[1, 2], [3, 4]", X, 2)]
)
def test_a_row_is_one_value(body: bytes, spec: TensorSpec, count: int) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(body, spec)
    assert caught.value.message == f"input {spec.name!r}: expected one JSON value, got {count}"


def answer(row: bool, **outputs: np.ndarray) -> Any:
    payload = processor().encode(outputs, BodyForm(row))
    assert (payload.content_type, payload.status) == ("application/json", 200)
    return payload.body


def test_the_answer_has_the_form_of_the_request() -> None:
    rows, single = np.array([[1, 2.5], [3, 4]], np.float32), np.array([[1, 2.5]], np.float32)
    assert answer(False, y=rows) == b"[[1.0,2.5],[3.0,4.0]]"
    assert answer(True, y=single) == b"[1.0,2.5]"
    assert answer(True, y=single, n=np.array([7])) == b'{"y":[1.0,2.5],"n":7}'


def test_text_and_numbers_beyond_json_are_written() -> None:
    words = np.array([b"cat", "größe".encode()], object)
    assert json.loads(answer(False, s=words)) == ["cat", "größe"]
    assert answer(True, s=words[:1]) == b'"cat"'
    assert answer(False, y=np.array([np.nan, np.inf, 1], np.float32)) == b"[NaN, Infinity, 1.0]"


def test_bytes_that_are_no_text_can_t_be_answered() -> None:
    with pytest.raises(InvalidInput, match="not UTF-8"):
        answer(True, s=np.array([b"\xff"], object))


@pytest.mark.parametrize(("accept", "content_type"), [("text/csv", "text/csv"), ("*/*", "application/json")])
def test_the_answer_is_csv_for_clients_that_ask_for_it(accept: str, content_type: str) -> None:
    _, form = processor().decode(Payload(b"[1, 2]", "application/json", headers={"accept": accept}))
    payload = processor().encode({"y": np.array([[1, 2.5]], np.float32)}, form)
    assert payload == Payload(b"1.0,2.5\n" if content_type == "text/csv" else b"[1.0,2.5]", content_type)


# -- other kinds of body -----------------------------------------------------------------------------------------------


def saved(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def saved_together(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


ROWS = [[1, 2], [3, 4]]
CURL = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/csv; charset=utf-8", b"1,2\n3,4\n"),
        (CURL, b"1,2\n3,4\n"),
        ("", b"1,2\n3,4\n"),
        ("application/x-npy", saved(ROWS)),
        ("application/octet-stream", saved(ROWS)),
        (CURL, saved(np.array(ROWS, ">f8"))),
        ("application/x-npz", saved_together(x=ROWS)),
        ("application/octet-stream", saved_together(x=ROWS)),
        ("application/vnd.api+json", b"[[1, 2], [3, 4]]"),
        ("text/plain", b" [[1, 2], [3, 4]]"),
        ("text/plain", b"1,2\n3,4"),
    ],
)
def test_a_body_is_told_by_its_type_or_its_beginning(content_type: str, body: bytes) -> None:
    tensors, form = processor().decode(Payload(body, content_type))
    assert (tensors["x"].dtype, tensors["x"].tolist(), form.row) == (np.float32, ROWS, False)


def test_two_untyped_bytes_are_bfloat16_where_the_model_takes_that() -> None:
    body = saved(np.array([1.5], ml_dtypes.bfloat16))
    assert read(body, TensorSpec("x", "BF16", (-1,)), content_type="application/x-npy") == ({"x": [1.5]}, False)
    with pytest.raises(InvalidInput, match=r"^input 'n': expected INT64, got \|V2$"):
        read(body, N, content_type="application/x-npy")


def test_an_array_of_one_row_may_leave_the_batch_out() -> None:
    assert read(saved([1, 2]), content_type="application/x-npy") == ({"x": [[1, 2]]}, True)


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        ("text/plain", b"[hello", b"[hello"),
        ("image/png", b"\x89PNG", b"\x89PNG"),
        ("audio/wav", b"RIFF", b"RIFF"),
        (CURL, b"\xff\xd8\xff\xe0", b"\xff\xd8\xff\xe0"),
    ],
)
def test_a_model_of_bytes_takes_text_and_pictures_as_they_are(content_type: str, body: bytes, expected: bytes) -> None:
    assert read(body, TEXT, content_type=content_type) == ({"s": [expected]}, True)


@pytest.mark.parametrize(
    ("fields", "types"),
    [
        ({"x": saved(ROWS), "n": b"[7, 8]"}, {"x": "application/octet-stream"}),
        ({"x": b"1,2\n3,4\n", "n": b"[7, 8]"}, {"x": "text/csv"}),
        ({"upload": saved_together(x=ROWS, n=[7, 8])}, {"upload": "application/octet-stream"}),
        ({"x": b"1,2\n3,4\n", "n": b"[7, 8]"}, {"x": "application/octet-stream"}),
        ({"body": saved_together(x=ROWS, n=[7, 8])}, {}),
    ],
)
def test_parts_of_a_form_may_be_files(fields: dict[str, bytes], types: dict[str, str]) -> None:
    assert read(b"", X, N, fields=fields, field_types=types) == ({"x": ROWS, "n": [7, 8]}, False)


@pytest.mark.parametrize(
    ("content_type", "body", "message"),
    [
        ("image/png", b"\x89PNG", "input 'x': FP32[*,2]: expected JSON, CSV or .npy, got a picture"),
        ("application/pdf", b"%PDF\xff", "input 'x': FP32[*,2]: expected JSON, CSV or .npy, got bytes of another kind"),
        ("application/x-npz", saved_together(y=ROWS), "the model takes the inputs 'x': FP32[*,2]; got 'y'"),
        ("application/x-npy", saved(["a"]), "input 'x': expected FP32, got <U1"),
        ("application/json", b"[[1, 2], " + b"[" * 100_000, "[[[[[[ (maximum recursion"),
        ("application/json", b'{"x": ' + b"[" * 100_000, "the body is no JSON object of inputs: maximum recursion"),
    ],
)
def test_another_body_is_refused(content_type: str, body: bytes, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        processor().decode(Payload(body, content_type))
    assert message in caught.value.message


def test_an_array_without_a_name_is_refused_by_a_model_with_several_inputs() -> None:
    with pytest.raises(InvalidInput, match=r"^the model takes the inputs .*, as JSON, CSV or \.npz; got \.npy$"):
        read(saved(ROWS), X, N, content_type="")
