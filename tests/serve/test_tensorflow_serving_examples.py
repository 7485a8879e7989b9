"""TensorFlow's examples as inputs, and outputs as classes, regressions and predictions: each shape by itself."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from model_store.errors import InvalidInput, Unsupported
from model_store.manifest import Signature, TensorSpec
from serve.dialects.tensorflow_examples import decode_examples, reader_of
from serve.dialects.tensorflow_json import decode_predict
from serve.dialects.tensorflow_results import classifications, columns, predictions, regressions
from serve.inference import InferenceResponse, Tensors
from serve.protocols.tensorflow_serving import Example


def examples(*features: Any) -> Any:
    """An `Input` message, as the JSON of a call makes it: an example with the feature `x` for each of `features`."""
    return decode_examples(json.dumps({"examples": [{"x": values} for values in features]}).encode())[0]


def read(given: Any, *shape: int, datatype: str = "FP32", name: str = "x") -> np.ndarray:
    return reader_of(given)(Signature((TensorSpec(name, datatype, shape),), ()))[name]


# -- examples --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "values", "rows"),
    [
        ((-1,), 1, [1]),
        ((-1, 1), [1], [[1]]),
        ((-1, 2, 2), [1, 2, 3, 4], [[[1, 2], [3, 4]]]),
        ((-1, -1), [1, 2, 3], [[1, 2, 3]]),
        ((-1, 2, -1), [1, 2, 3, 4, 5, 6], [[[1, 2, 3], [4, 5, 6]]]),
    ],
)
def test_a_flat_feature_is_a_row_of_the_input_s_shape(shape: tuple[int, ...], values: Any, rows: Any) -> None:
    assert read(examples(values), *shape).tolist() == rows


def test_a_feature_without_values_is_as_good_as_absent() -> None:
    with pytest.raises(InvalidInput, match="example 0: expected a feature for 'x'"):
        read(examples([]), -1, -1)


@pytest.mark.parametrize(
    ("shape", "values"),
    [((-1,), [1, 2]), ((-1, 3), [1, 2]), ((-1, 2), [1, 2, 3, 4]), ((-1, -1, 2), [1, 2, 3]), ((-1, -1, -1), [1, 2])],
)
def test_values_that_make_no_row_are_refused(shape: tuple[int, ...], values: list[int]) -> None:
    with pytest.raises(InvalidInput, match=f"example 0: {len(values)} values are no row of 'x'"):
        read(examples(values), *shape)


def test_an_empty_list_is_no_row_of_an_input_without_elements() -> None:
    given = examples(1)
    given.example_list.examples[0].features.feature["x"].float_list.SetInParent()
    with pytest.raises(InvalidInput, match="example 0: 0 values are no row of 'x'"):
        read(given, -1, -1, 0)


def test_rows_of_different_lengths_are_refused() -> None:
    with pytest.raises(InvalidInput, match="example 1: feature 'x' has 1 values, the others 2"):
        read(examples([1, 2], [3]), -1, -1)


def test_texts_are_the_feature_of_that_name_and_else_the_whole_example() -> None:
    given = examples("a", "b")
    assert read(given, -1, datatype="BYTES").tolist() == [b"a", b"b"]
    assert read(given, -1, 1, datatype="BYTES").tolist() == [[b"a"], [b"b"]]
    whole = [Example.FromString(each) for each in read(given, -1, datatype="BYTES", name="inputs")]
    assert [each.features.feature["x"].bytes_list.value[0] for each in whole] == [b"a", b"b"]
    with pytest.raises(InvalidInput, match="expected a feature for 'inputs'"):
        read(given, -1, 1, datatype="BYTES", name="inputs")


# -- predict ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("datatype", ["FP16", "BF16", "UINT16"])
def test_datatypes_that_the_protocol_has_no_json_for_are_unsupported(datatype: str) -> None:
    read_inputs = decode_predict(b'{"instances":[1]}', "m", None, None).read_inputs
    assert read_inputs is not None
    with pytest.raises(Unsupported, match=f"input 'x': {datatype} can't be sent as JSON"):
        read_inputs(Signature((TensorSpec("x", datatype, (-1,)),), ()))


@pytest.mark.parametrize(("datatype", "value"), [("BOOL", "1"), ("BYTES", '{"b64":"eA==","c":1}'), ("INT8", "128")])
def test_values_of_another_kind_are_refused(datatype: str, value: str) -> None:
    read_inputs = decode_predict(b'{"inputs":[%b]}' % value.encode(), "m", None, None).read_inputs
    assert read_inputs is not None
    with pytest.raises(InvalidInput, match=f"input 'x': .*{datatype}"):
        read_inputs(Signature((TensorSpec("x", datatype, (-1,)),), ()))


# -- answers ---------------------------------------------------------------------------------------------------------


def answer(labels: tuple[str, ...] | None = None, **outputs: Any) -> InferenceResponse:
    """Lists of floats are FP32; arrays are taken as they are."""
    tensors: Tensors = {
        name: value if isinstance(value, np.ndarray) else np.array(value, np.float32) for name, value in outputs.items()
    }
    return InferenceResponse("m", "1", outputs=tensors, labels=labels)


def texts(*elements: Any) -> np.ndarray:
    return np.array(elements, dtype=object)


@pytest.mark.parametrize(
    ("response", "rows"),
    [
        (answer(y=[1, 2]), [[("", 1)], [("", 2)]]),
        (answer(y=[[1, 2]], labels=("a", "b")), [[("a", 1), ("b", 2)]]),
        (answer(y=[[1, 2]], labels=("a", "b", "c")), [[("", 1), ("", 2)]]),
        (answer(y=[1], label=texts(b"a")), [[("a", 1)]]),
        (answer(y=[[1, 2]], label=texts(b"a")), [[("", 1), ("", 2)]]),
        (answer(y=[[1]], label=texts([b"\xff"])), [[("\ufffd", 1)]]),
        (answer(n=np.array([7]), y=np.array([[1e300]])), [[("", np.inf)]]),
    ],
)
def test_classes_have_the_scores_and_labels_of_the_outputs(response: InferenceResponse, rows: Any) -> None:
    found = classifications(response).classifications
    assert [[(each.label, each.score) for each in row.classes] for row in found] == rows


@pytest.mark.parametrize("shape", [(), (1, 2, 3)])
def test_scores_of_another_shape_are_no_classes(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInput, match=r"expected scores of the shape \[rows, classes\]"):
        classifications(answer(y=np.zeros(shape, np.float32)))


@pytest.mark.parametrize("shape", [(), (2, 2), (2, 1, 1)])
def test_values_of_another_shape_are_no_regressions(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInput, match="expected one value a row to regress"):
        regressions(answer(y=np.zeros(shape, np.float32)))


def test_only_names_that_end_in_bytes_are_base64() -> None:
    response = answer(a_bytes=texts(b"\xff"), b_bytes_=texts(b"x"))
    assert columns(response) == {"a_bytes": [{"b64": "/w=="}], "b_bytes_": ["x"]}


def test_outputs_without_rows_answer_columns_and_no_rows() -> None:
    response = answer(y=np.float32(3).reshape(()))
    assert columns(response) == 3
    with pytest.raises(InvalidInput, match="expected outputs of the same first dimension"):
        predictions(response)
