"""CSV bodies: columns by name and by order, rows of one input, each datatype, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from model_store.errors import InvalidInput
from model_store.manifest import Signature, TensorSpec
from serve.processors.csv_tensors import read_csv

X = TensorSpec("x", "FP32", (-1, 2))
AGE, CITY, INCOME = (
    TensorSpec("age", "INT64", (-1, 1)),
    TensorSpec("city", "BYTES", (-1, 1)),
    TensorSpec("income", "FP32", (-1, 1)),
)
PEOPLE = (AGE, CITY, INCOME)


def read(body: bytes, *inputs: TensorSpec) -> dict[str, Any]:
    tensors = read_csv(body, Signature(inputs or (X,), ()))
    return {name: tensor.tolist() for name, tensor in tensors.items()}


@pytest.mark.parametrize(
    "body",
    [
        b"1,2\n3,4\n",
        b"1,2\r\n3,4",
        b"\xef\xbb\xbf1,2\n\n3,4\n\n",
        b"width,height\n1,2\n3,4\n",
        b",height\n1,2\n3,4\n",
        b'"1"," 2"\n3,4e0\n',
    ],
)
def test_lines_are_rows_of_the_only_input_with_or_without_names(body: bytes) -> None:
    assert read(body) == {"x": [[1, 2], [3, 4]]}


def test_columns_are_inputs_by_name_in_any_order() -> None:
    assert read(b'income,age,city\n10.5,40,"Bonn, Rhein"\n20,50,K\xc3\xb6ln\n', *PEOPLE) == {
        "income": [[10.5], [20]],
        "age": [[40], [50]],
        "city": [[b"Bonn, Rhein"], ["Köln".encode()]],
    }


def test_columns_without_names_are_inputs_in_the_model_s_order() -> None:
    assert read(b"40,Bonn,10.5\n", *PEOPLE) == {"age": [[40]], "city": [[b"Bonn"]], "income": [[10.5]]}


def test_an_empty_cell_is_nan_or_the_empty_text() -> None:
    inputs = read_csv(b"age,city,income\n40,,\n", Signature(PEOPLE, ()))
    assert (inputs["city"].tolist(), np.isnan(inputs["income"]).tolist()) == ([[b""]], [[True]])


def test_a_column_of_text_may_be_quoted_and_hold_lines() -> None:
    text = TensorSpec("s", "BYTES", (-1,))
    assert read(b's\nplain\n"two\nlines"\n"say ""hi"""\n""\n', text) == {
        "s": [b"plain", b"two\nlines", b'say "hi"', b""]
    }
    assert read(b"plain\n", text) == {"s": [b"plain"]}


@pytest.mark.parametrize(
    ("body", "spec", "expected"),
    [
        (b"1,2,3,4\n5,6,7,8\n", TensorSpec("x", "UINT8", (-1, 2, 2)), [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]),
        (b"1,2,3,4\n", TensorSpec("x", "INT32", (-1, 2, -1)), [[[1, 2], [3, 4]]]),
        (b"1,2,3\n4,5,6\n", TensorSpec("x", "FP64", (2, 3)), [[1, 2, 3], [4, 5, 6]]),
        (b"0,255\n", TensorSpec("x", "UINT8", (-1, 2)), [[0, 255]]),
        (b"true,0\nFALSE,1\n", TensorSpec("x", "BOOL", (-1, 2)), [[True, False], [False, True]]),
        (b"18446744073709551615\n", TensorSpec("x", "UINT64", (-1,)), [2**64 - 1]),
        (b"1.5\n", TensorSpec("x", "FP16", (-1,)), [1.5]),
        (b"1.5\n", TensorSpec("x", "BF16", (-1,)), [1.5]),
        (b"inf\n-inf\n", TensorSpec("x", "FP32", (-1,)), [np.inf, -np.inf]),
        (b"x\n", TensorSpec("x", "FP32", (-1,)), []),
    ],
)
def test_cells_take_the_input_s_datatype_and_shape(body: bytes, spec: TensorSpec, expected: list[Any]) -> None:
    assert read(body, spec) == {"x": expected}


@pytest.mark.parametrize(
    ("body", "inputs", "message"),
    [
        (b"", (X,), "the CSV is empty"),
        (b"\n\n", (X,), "the CSV is empty"),
        (b"1,2\n3\n", (X,), "line 2 of the CSV: expected 2 cells, got 1"),
        (b"1,2,3\n", (X,), "1 lines of 3 cells are no tensor 'x': FP32[*,2]"),
        (b"1,2\n3,b\n", (X,), "input 'x': expected FP32 values, got 'b'"),
        (b"1,O.2\n3,4\n", (X,), "input 'x': expected FP32 values, got 'O.2'"),
        (b"a,b\n", (X,), "the CSV has one line, which is no row 'x': FP32[*,2]: 'a'"),
        (b"1,1_0\n", (X,), "input 'x': expected FP32 values, got '1_0'"),
        (b"1,1e39\n", (X,), "input 'x': expected FP32, got float64 values that do not fit"),
        (b'1,"2\n', (X,), "line 1 of the CSV: unexpected end of data"),
        (b"1,\xff\n", (X,), "the CSV is not UTF-8 text: invalid start byte"),
        (b"age,city,income\n,Bonn,1\n", PEOPLE, "input 'age': expected INT64 values, got ''"),
        (b"age,city,income\n1.0,Bonn,1\n", PEOPLE, "input 'age': expected INT64 values, got '1.0'"),
        (b"256\n", (TensorSpec("x", "UINT8", (-1,)),), "input 'x': expected UINT8 values, got '256'"),
        (b"-1\n", (TensorSpec("x", "UINT8", (-1,)),), "input 'x': expected UINT8 values, got '-1'"),
        (b"1,2\n", (TensorSpec("x", "FP32", (-1, -1, -1)),), "1 lines of 2 cells are no tensor 'x': FP32[*,*,*]"),
        (b"2\n", (TensorSpec("x", "BOOL", (-1,)),), "input 'x': expected BOOL values, got '2'"),
        (
            b"age,town,income\n",
            PEOPLE,
            "expected a column for each of the inputs 'age': INT64[*,1], 'city': BYTES[*,1], 'income': FP32[*,1], or "
            "their names first; got 'age', 'town', 'income'",
        ),
        *(
            (
                body,
                (X, AGE),
                "CSV can't carry these inputs, which are no single values a row: 'x': FP32[*,2], 'age': INT64[*,1]",
            )
            for body in (b"1,2,3\n", b"x,age\n1,2\n")
        ),
    ],
)
def test_what_is_no_row_of_the_model_is_refused(body: bytes, inputs: tuple[TensorSpec, ...], message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(body, *inputs)
    assert caught.value.message == message


def test_a_cell_of_any_length_is_read_or_refused() -> None:
    with pytest.raises(InvalidInput, match="field larger than field limit"):
        read(b"1," + b"9" * 200_000 + b"\n")
    with pytest.raises(InvalidInput, match="expected INT64 values, got '9999"):
        read(b"9" * 5000 + b"\n", TensorSpec("x", "INT64", (-1,)))
