"""What reaches a version's queue: names, datatypes and shapes of its signature."""

from __future__ import annotations

import numpy as np
import pytest

from model_store.errors import InvalidInput
from model_store.manifest import Signature, TensorSpec
from serve.admission import SignatureCheck, describe
from serve.inference import Payload


def check(*inputs: TensorSpec, outputs: tuple[TensorSpec, ...] = (TensorSpec("y", "FP32", (-1, 1)),)) -> SignatureCheck:
    return SignatureCheck("digits", Signature(inputs, outputs))


X = TensorSpec("x", "FP32", (-1, 2))
Z = TensorSpec("z", "INT64", (-1,))


def x(*shape: int, dtype: type = np.float32) -> np.ndarray:
    return np.zeros(shape, dtype)


def test_rows_are_those_of_the_first_dimension() -> None:
    assert check(X).rows({"x": x(3, 2)}) == 3
    assert check(X).rows({"x": x(0, 2)}) == 0
    assert check(X, Z).rows({"z": np.zeros(4, np.int64), "x": x(4, 2)}) == 4


def test_a_version_without_batch_dimension_takes_one_row() -> None:
    assert check(TensorSpec("x", "FP32", (2, 2))).rows({"x": x(2, 2)}) == 1
    assert check(X, outputs=(TensorSpec("y", "FP32", (1,)),)).rows({"x": x(5, 2)}) == 1
    assert check(X, TensorSpec("scale", "FP32", ())).rows({"x": x(5, 2), "scale": x()}) == 1


def test_batched_and_ragged_follow_from_the_shapes() -> None:
    assert (check(X).batched, check(X).ragged) == (True, False)
    free = TensorSpec("x", "FP32", (-1, -1))
    assert (check(free).batched, check(free).ragged) == (True, True)
    fixed = TensorSpec("x", "FP32", (2, -1))
    assert (check(fixed).batched, check(fixed).ragged) == (False, True)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (x(2, 3), "input 'x': expected FP32[*,2], got FP32[2,3]"),
        (x(2), "input 'x': expected FP32[*,2], got FP32[2]"),
        (x(1, 2, 1), "input 'x': expected FP32[*,2], got FP32[1,2,1]"),
        (x(1, 2, dtype=np.float64), "input 'x': expected FP32[*,2], got FP64[1,2]"),
        (x(1, 2, dtype=np.int32), "input 'x': expected FP32[*,2], got INT32[1,2]"),
        (np.array([[b"a", b"b"]], object), "input 'x': expected FP32[*,2], got BYTES[1,2]"),
    ],
)
def test_another_shape_or_datatype_is_refused(tensor: np.ndarray, message: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check(X).rows({"x": tensor})
    assert str(refused.value) == message
    assert refused.value.details == {"input": "x"}


@pytest.mark.parametrize(
    ("names", "got"), [((), "none"), (("a",), "'a'"), (("x",), "'x'"), (("x", "z", "extra"), "'x', 'z', 'extra'")]
)
def test_missing_and_unknown_names_are_refused(names: tuple[str, ...], got: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check(X, Z).rows({name: x(1, 2) for name in names})
    assert str(refused.value) == f"model 'digits' takes the inputs 'x': FP32[*,2], 'z': INT64[*]; got {got}"
    assert refused.value.details == {"got": list(names)}


def test_a_scalar_is_no_batch_of_scalars() -> None:
    with pytest.raises(InvalidInput, match=r"^input 'z': expected INT64\[\*\], got INT64\[\]$"):
        check(Z).rows({"z": np.array(1, np.int64)})


def test_inputs_with_different_numbers_of_rows_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"^input 'z': expected 3 rows as the other inputs, got 4$"):
        check(X, Z).rows({"x": x(3, 2), "z": np.zeros(4, np.int64)})


def test_wanted_outputs_are_all_unless_some_are_named() -> None:
    outputs = (TensorSpec("y", "FP32", (-1, 1)), TensorSpec("p", "FP32", (-1, 3)))
    assert tuple(check(X, outputs=outputs).wanted(())) == ("y", "p")
    assert tuple(check(X, outputs=outputs).wanted(("p",))) == ("p",)
    assert tuple(check(X, outputs=outputs).wanted(("p", "y"))) == ("p", "y")


def test_an_unknown_output_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"^model 'digits' has no output 'q'; outputs: y$"):
        check(X).wanted(("y", "q"))


def test_describe_shows_free_dimensions_as_stars() -> None:
    assert describe(TensorSpec("x", "FP32", (-1, 3, -1))) == "'x': FP32[*,3,*]"
    assert describe(TensorSpec("s", "BYTES", ())) == "'s': BYTES[]"


# -- raw binary requests ---------------------------------------------------------------------------------------------


def payload(body: bytes) -> Payload:
    return Payload(body, "application/octet-stream")


def test_a_raw_body_is_one_row_of_the_only_input() -> None:
    tensor = check(X).from_payload(payload(np.array([1, 2], np.float32).tobytes()))["x"]
    assert tensor.tolist() == [[1, 2]]


def test_a_free_dimension_follows_from_the_length_of_a_raw_body() -> None:
    free = TensorSpec("x", "FP32", (-1, -1, 2))
    assert check(free, outputs=(free,)).from_payload(payload(bytes(24)))["x"].shape == (1, 3, 2)


def test_a_raw_body_for_text_is_the_element_itself() -> None:
    text = TensorSpec("x", "BYTES", (-1, 1))
    assert check(text).from_payload(payload(b"hello"))["x"].tolist() == [[b"hello"]]


@pytest.mark.parametrize(
    ("spec", "body", "message"),
    [
        (X, bytes(4), "4 bytes are no tensor 'x': FP32[*,2]"),
        (X, bytes(16), "input 'x': FP32[1, 2] takes 8 bytes, got 16"),
        (TensorSpec("x", "FP32", (-1, -1, 2)), bytes(12), "12 bytes are no tensor 'x': FP32[*,*,2]"),
        (TensorSpec("x", "FP32", (-1, -1, -1)), bytes(8), "8 bytes are no tensor 'x': FP32[*,*,*]"),
    ],
)
def test_a_raw_body_of_another_length_is_refused(spec: TensorSpec, body: bytes, message: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check(spec).from_payload(payload(body))
    assert str(refused.value) == message


def test_a_raw_body_for_a_model_with_several_inputs_is_refused() -> None:
    message = "model 'digits' takes named tensors, not a raw body: 'x': FP32[*,2], 'z': INT64[*]"
    for body in (payload(b""), None):
        with pytest.raises(InvalidInput) as refused:
            check(X, Z).from_payload(body)
        assert str(refused.value) == message
