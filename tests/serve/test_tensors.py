"""Tensors to and from bytes and numbers: every datatype, and what a server has to refuse."""

from __future__ import annotations

import tracemalloc

import ml_dtypes
import msgspec
import numpy as np
import pytest

from model_store.errors import InvalidInput
from model_store.manifest import DATATYPES
from serve.tensors import (
    PARSED_TYPES,
    datatype_of,
    dtype_of,
    from_json,
    from_parsed,
    from_raw,
    from_values,
    raw_view,
    to_json_values,
    to_raw,
)

HUGE = 10**17

RAW = [
    ("BOOL", np.array([True, False]), b"\x01\x00"),
    ("UINT8", np.array([1, 255], np.uint8), b"\x01\xff"),
    ("UINT16", np.array([1, 65535], np.uint16), b"\x01\x00\xff\xff"),
    ("UINT32", np.array([1, 2**32 - 1], np.uint32), b"\x01\x00\x00\x00\xff\xff\xff\xff"),
    ("UINT64", np.array([1, 2**64 - 1], np.uint64), b"\x01" + bytes(7) + b"\xff" * 8),
    ("INT8", np.array([1, -128], np.int8), b"\x01\x80"),
    ("INT16", np.array([1, -2], np.int16), b"\x01\x00\xfe\xff"),
    ("INT32", np.array([1, -2], np.int32), b"\x01\x00\x00\x00\xfe\xff\xff\xff"),
    ("INT64", np.array([1, -2], np.int64), b"\x01" + bytes(7) + b"\xfe" + b"\xff" * 7),
    ("FP16", np.array([1, -2], np.float16), b"\x00\x3c\x00\xc0"),
    ("BF16", np.array([1, -2], ml_dtypes.bfloat16), b"\x80\x3f\x00\xc0"),
    ("FP32", np.array([1, -2], np.float32), b"\x00\x00\x80\x3f\x00\x00\x00\xc0"),
    ("FP64", np.array([1, -2], np.float64), bytes(6) + b"\xf0\x3f" + bytes(7) + b"\xc0"),
    ("BYTES", np.array([b"ab", b"\xff"], object), b"\x02\x00\x00\x00ab\x01\x00\x00\x00\xff"),
]


@pytest.mark.parametrize(("datatype", "tensor", "raw"), RAW, ids=[case[0] for case in RAW])
def test_a_datatype_goes_to_its_raw_bytes_and_back(datatype: str, tensor: np.ndarray, raw: bytes) -> None:
    assert to_raw(tensor) == raw
    assert bytes(raw_view(tensor)) == raw
    back = from_raw("x", datatype, [2], raw)
    assert back.dtype == tensor.dtype
    assert back.tolist() == tensor.tolist()
    assert datatype_of(back) == datatype
    assert dtype_of("x", datatype) == tensor.dtype


JSON = [
    ("BOOL", b"[true, false]", [True, False]),
    ("UINT8", b"[0, 255]", [0, 255]),
    ("UINT16", b"[0, 65535]", [0, 65535]),
    ("UINT32", b"[0, 4294967295]", [0, 4294967295]),
    ("UINT64", b"[0, 18446744073709551615]", [0, 18446744073709551615]),
    ("INT8", b"[-128, 127]", [-128, 127]),
    ("INT16", b"[-32768, 32767]", [-32768, 32767]),
    ("INT32", b"[-2147483648, 2147483647]", [-2147483648, 2147483647]),
    ("INT64", b"[-9223372036854775808, 9223372036854775807]", [-9223372036854775808, 9223372036854775807]),
    ("FP32", b"[1, 0.5]", [1.0, 0.5]),
    ("FP64", b"[0.1, 1e300]", [0.1, 1e300]),
    ("FP32", b"[3.4028235e38, -3.4028235e38]", [3.4028234663852886e38, -3.4028234663852886e38]),
    ("BYTES", '["a", "\u00fc"]'.encode(), [b"a", b"\xc3\xbc"]),
]


@pytest.mark.parametrize(("datatype", "data", "values"), JSON, ids=[case[0] for case in JSON])
def test_a_datatype_comes_from_json_and_goes_back(datatype: str, data: bytes, values: list[object]) -> None:
    tensor = from_json("x", datatype, [2], data)
    assert datatype_of(tensor) == datatype
    assert tensor.tolist() == values
    shown = to_json_values(tensor)
    assert shown == [v.decode() if isinstance(v, bytes) else v for v in values]
    assert {type(value) for value in shown} == {type(shown[0])}


def test_float32_values_in_json_are_those_of_the_tensor() -> None:
    assert to_json_values(np.array([0.1], np.float32)) == [0.10000000149011612]


def test_json_values_are_flat_and_row_major() -> None:
    assert to_json_values(np.array([[1, 2], [3, 4]], np.int32)) == [1, 2, 3, 4]


def test_raw_bytes_are_row_major_whatever_the_memory_order() -> None:
    tensor = np.asfortranarray(np.array([[1, 2], [3, 4]], np.uint8))
    assert to_raw(tensor) == bytes(raw_view(tensor)) == b"\x01\x02\x03\x04"


def test_large_raw_bytes_for_a_reply_are_viewed_and_not_copied() -> None:
    tensor = np.zeros((3, 1024), np.float32)
    for shown in (tensor, tensor[1:]):
        view = raw_view(shown)
        assert len(view) == shown.nbytes
        assert np.shares_memory(np.frombuffer(view, np.uint8), tensor)
    assert len(raw_view(np.zeros((0, 2), np.float32))) == 0
    assert bytes(raw_view(np.array(7, np.int16))) == b"\x07\x00"


def test_raw_numbers_are_viewed_and_not_copied() -> None:
    body = b"...." + np.array([1, 2], np.float32).tobytes()
    tensor = from_raw("x", "FP32", [2], memoryview(body)[4:])
    assert np.shares_memory(tensor, np.frombuffer(body, np.uint8))


def test_raw_numbers_at_an_odd_offset_have_their_values() -> None:
    body = b"." + np.array([1.5, 2.5], np.float64).tobytes()
    assert from_raw("x", "FP64", [2], memoryview(body)[1:]).tolist() == [1.5, 2.5]


@pytest.mark.parametrize("data", [b"[1,2,3,4,5,6]", b"[[1,2,3],[4,5,6]]", b" [\n [1,2,3], [4,5,6] ]"])
def test_json_may_be_flat_or_nested_to_the_shape(data: bytes) -> None:
    assert from_json("x", "INT32", [2, 3], data).tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize("data", [b'["a","b","c","d"]', b'[["a","b"],["c","d"]]'])
def test_text_may_be_flat_or_nested_to_the_shape(data: bytes) -> None:
    assert from_json("x", "BYTES", [2, 2], data).tolist() == [[b"a", b"b"], [b"c", b"d"]]


def test_nested_json_may_be_spaced_as_wide_as_people_like() -> None:
    assert from_json("x", "FP32", [1, 1], b"[" + b" " * 1000 + b"[1]]").tolist() == [[1.0]]


@pytest.mark.parametrize(("shape", "data"), [([0], b"[]"), ([0, 3], b"[]"), ([2, 0], b"[]"), ([2, 0], b"[[],[]]")])
def test_a_zero_sized_dimension_is_legal(shape: list[int], data: bytes) -> None:
    assert from_json("x", "FP32", shape, data).shape == tuple(shape)
    assert from_raw("x", "FP32", shape, b"").shape == tuple(shape)
    assert from_raw("x", "BYTES", shape, b"").shape == tuple(shape)
    assert from_values("x", "FP32", shape, []).shape == tuple(shape)


def test_an_empty_shape_is_one_value() -> None:
    assert from_json("x", "FP32", [], b"[1.5]").shape == ()
    assert from_raw("x", "UINT8", [], b"\x07") == 7


def parsed(datatype: str, shape: list[int], data: bytes) -> np.ndarray:
    return from_parsed(datatype, shape, msgspec.json.decode(data, type=PARSED_TYPES[datatype]))


PLAIN_JSON = [
    ("FP32", [1, 2], b"[1, 2.5]"),
    ("FP32", [1, 2], b"[[1, 2.5]]"),
    ("FP32", [], b"[1.5]"),
    ("FP32", [1, 1, 1, 1], b"[[[[1.5]]]]"),
    ("FP64", [2], b"[1e300, -0.0]"),
    ("INT64", [2, 1], b"[[9007199254740993], [-1]]"),
    ("UINT64", [1], b"[18446744073709551615]"),
    ("BOOL", [1, 2], b"[[true, false]]"),
    ("BYTES", [1, 2], '["a", "\u00e9"]'.encode()),
    ("BYTES", [1, 2], '[["a", "\u00e9"]]'.encode()),
]


@pytest.mark.parametrize(("datatype", "shape", "data"), PLAIN_JSON)
def test_values_that_were_parsed_with_their_message_give_the_same_tensor(
    datatype: str, shape: list[int], data: bytes
) -> None:
    tensor, expected = parsed(datatype, shape, data), from_json("x", datatype, shape, data)
    assert (tensor.dtype, tensor.shape, tensor.tolist()) == (expected.dtype, expected.shape, expected.tolist())


# -- what is refused in JSON -----------------------------------------------------------------------------------------

REFUSED_JSON = [
    ("INT32", b"[1.5]", "'data' is no list of INT32 values: Expected `int`, got `float` - at `$[0]`"),
    ("INT32", b"[1.0]", "'data' is no list of INT32 values: Expected `int`, got `float` - at `$[0]`"),
    ("INT32", b"[true]", "'data' is no list of INT32 values: Expected `int`, got `bool` - at `$[0]`"),
    ("INT32", b'["1"]', "'data' is no list of INT32 values: Expected `int`, got `str` - at `$[0]`"),
    ("INT32", b"[null]", "'data' is no list of INT32 values: Expected `int`, got `null` - at `$[0]`"),
    ("FP32", b"[true]", "'data' is no list of FP32 values: Expected `float`, got `bool` - at `$[0]`"),
    ("FP32", b"[NaN]", "'data' is no list of FP32 values: JSON is malformed: invalid character (byte 1)"),
    ("FP32", b"[1", "'data' is no list of FP32 values: Input data was truncated"),
    ("FP32", b"{}", "'data' is no list of FP32 values: Expected `array`, got `object`"),
    ("FP32", b"1", "'data' is no list of FP32 values: Expected `array`, got `int`"),
    ("FP32", b"null", "'data' is no list of FP32 values: Expected `array`, got `null`"),
    (
        "FP32",
        b"[1e300]",
        "'data' is no list of FP32 values: Expected `float` < 3.4028235677973366e+38 - at `$[0]`",
    ),
    ("FP64", b"[1e400]", "'data' is no list of FP64 values: Number out of range - at `$[0]`"),
    ("BOOL", b"[1]", "'data' is no list of BOOL values: Expected `bool`, got `int` - at `$[0]`"),
    ("BYTES", b"[1]", "'data' is no list of BYTES values: Expected `str`, got `int` - at `$[0]`"),
    ("UINT8", b"[256]", "a value does not fit UINT8: Python integer 256 out of bounds for uint8"),
    ("UINT8", b"[-1]", "a value does not fit UINT8: Python integer -1 out of bounds for uint8"),
    ("INT32", b"[2147483648]", "a value does not fit INT32: Python integer 2147483648 out of bounds for int32"),
    ("INT64", b"[9223372036854775808]", "a value does not fit INT64: Python int too large to convert to C long"),
    ("UINT64", b"[18446744073709551616]", "a value does not fit UINT64: Python int too large to convert to C long"),
    ("FP16", b"[1]", "FP16 can't be sent as JSON numbers; send it as a binary tensor"),
    ("BF16", b"[1]", "BF16 can't be sent as JSON numbers; send it as a binary tensor"),
    (
        "FP8",
        b"[1]",
        "unknown datatype 'FP8'; expected one of BOOL, UINT8, UINT16, UINT32, UINT64, INT8, INT16, INT32, INT64, "
        "FP16, BF16, FP32, FP64, BYTES",
    ),
    (
        "F" * 1000,
        b"[1]",
        f"unknown datatype 'FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF; expected one of {', '.join(DATATYPES)}",
    ),
    ("FP32", b"[1,2]", "shape [1] takes 1 values, got 2"),
    ("BYTES", b"[]", "shape [1] takes 1 values, got 0"),
]


@pytest.mark.parametrize(("datatype", "data", "message"), REFUSED_JSON)
def test_json_of_another_type_range_or_count_is_refused(datatype: str, data: bytes, message: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        from_json("x", datatype, [1], data)
    assert str(refused.value) == f"input 'x': {message}"


@pytest.mark.parametrize("data", [b'["\xff"]', b'["\\ud800"]', b'["\\ud800x"]'])
def test_text_that_is_not_unicode_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput, match=r"^input 'x': 'data' is no list of BYTES values: "):
        from_json("x", "BYTES", [1], data)


REFUSED_NESTING = [
    ("FP32", [2, 2], b"[[1,2,3],[4]]", "'data' is not rectangular: expected [2, 2]"),
    ("FP32", [2, 3], b"[[1,2],[3,4],[5,6]]", "'data' is nested as [3, 2], expected [2, 3]"),
    ("FP32", [2], b"[[1],[2]]", "'data' is no list of FP32 values: Expected `float`, got `array` - at `$[0]`"),
    ("FP32", [1, 0, 2], b"[[]]", "'data' is nested as [1, 0], expected [1, 0, 2]"),
    ("BYTES", [2, 2], b'[["a","b","c"],["d"]]', "'data' is nested as [2], expected [2, 2]"),
    ("BYTES", [1, 4], b'[["a","b"],["c","d"]]', "'data' is nested as [2, 2], expected [1, 4]"),
    ("BYTES", [2, 2], b'[["a","b"],"c"]', "'data' is no list of BYTES values: Expected `array`, got `str` - at `$[1]`"),
]


@pytest.mark.parametrize(("datatype", "shape", "data", "message"), REFUSED_NESTING)
def test_json_nested_unlike_the_shape_is_refused(datatype: str, shape: list[int], data: bytes, message: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        from_json("x", datatype, shape, data)
    assert str(refused.value) == f"input 'x': {message}"


NOT_PLAIN = [
    *[(datatype, [1], data) for datatype, data, _ in REFUSED_JSON if datatype in PARSED_TYPES],
    *[(datatype, shape, data) for datatype, shape, data, _ in REFUSED_NESTING],
    ("BYTES", [2], b'["a",["b"]]'),
    ("BYTES", [2], b'[["a"],["b","c"]]'),
    ("BOOL", [2], b"[true,[false]]"),
    ("FP32", [-1, -1], b"[1]"),
    ("FP32", [1] * 65, b"[1]"),
    ("FP32", [0, HUGE * HUGE], b"[]"),
]


@pytest.mark.parametrize(("datatype", "shape", "data"), NOT_PLAIN)
def test_parsed_values_that_are_not_plainly_right_are_left_to_from_json(
    datatype: str, shape: list[int], data: bytes
) -> None:
    with pytest.raises((msgspec.DecodeError, ValueError, OverflowError)):
        parsed(datatype, shape, data)


def test_output_bytes_that_are_not_text_are_refused_in_json() -> None:
    with pytest.raises(InvalidInput, match=r"^an output holds bytes that are not UTF-8; ask for it as binary$"):
        to_json_values(np.array([b"\xff"], object))


# -- what is refused in bytes ----------------------------------------------------------------------------------------

REFUSED_RAW = [
    ("FP32", [2], b"1234", "FP32[2] takes 8 bytes, got 4"),
    ("FP32", [1], b"12345", "FP32[1] takes 4 bytes, got 5"),
    ("FP32", [0], b"1", "FP32[0] takes 0 bytes, got 1"),
    ("FP32", [HUGE], b"1234", f"FP32[{HUGE}] takes {4 * HUGE} bytes, got 4"),
    ("FP32", [2**32, 2**32], b"", f"shape [{2**32}, {2**32}] is larger than any memory"),
    ("FP32", [0, 2**62], b"", f"shape [0, {2**62}] is larger than any memory"),
    ("FP32", [-1], b"1234", "expected sizes of 0 or more, got shape [-1]"),
    ("FP32", [-1, -1], b"1234", "expected sizes of 0 or more, got shape [-1, -1]"),
    ("FP32", [1] * 65, b"1234", "a tensor has at most 64 dimensions, got 65"),
    ("FP32", [-1] * 65, b"1234", "a tensor has at most 64 dimensions, got 65"),
    ("BOOL", [2], b"\x01\x02", "a BOOL is one byte, 0 or 1; got 2"),
    ("BYTES", [2], b"\x00\x00\x00\x00", "2 BYTES elements take at least 8 bytes, got 4"),
    ("BYTES", [HUGE], b"1234", f"{HUGE} BYTES elements take at least {4 * HUGE} bytes, got 4"),
    ("BYTES", [1], b"\x05\x00\x00\x00abcd", "element 0 claims 5 bytes, 4 are left"),
    ("BYTES", [1], b"\xff\xff\xff\xffab", "element 0 claims 4294967295 bytes, 2 are left"),
    ("BYTES", [2], b"\x04\x00\x00\x00abcd", "the bytes end before element 1 of 2"),
    ("BYTES", [2], b"\x04\x00\x00\x00abcd\x01\x00", "the bytes end before element 1 of 2"),
    ("BYTES", [1], b"\x01\x00\x00\x00ab", "1 bytes follow the last element"),
    ("BYTES", [0], b"\x00\x00\x00\x00", "4 bytes follow the last element"),
]


@pytest.mark.parametrize(("datatype", "shape", "raw", "message"), REFUSED_RAW)
def test_bytes_that_do_not_fit_the_shape_are_refused(datatype: str, shape: list[int], raw: bytes, message: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        from_raw("x", datatype, shape, memoryview(raw))
    assert str(refused.value) == f"input 'x': {message}"


def test_a_huge_claimed_shape_takes_no_memory() -> None:
    tracemalloc.start()
    for shape in ([2**28], [2**20, 2**20], [2**63]):
        for refuse in (
            lambda shape=shape: from_raw("x", "FP32", shape, b"1234"),
            lambda shape=shape: from_raw("x", "BYTES", shape, b"1234"),
            lambda shape=shape: from_json("x", "FP32", shape, b"[1]"),
            lambda shape=shape: from_values("x", "FP32", shape, [1.0]),
        ):
            with pytest.raises(InvalidInput):
                refuse()
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 1024 * 1024


# -- typed contents --------------------------------------------------------------------------------------------------


def test_typed_values_fill_the_shape_row_by_row() -> None:
    assert from_values("x", "INT8", [2, 2], [1, -2, 3, -4]).tolist() == [[1, -2], [3, -4]]
    assert from_values("x", "BYTES", [2, 1], [b"a", b"\xff"]).tolist() == [[b"a"], [b"\xff"]]
    assert np.isnan(from_values("x", "FP32", [1], [float("nan")])).all()


@pytest.mark.parametrize(
    ("datatype", "value"), [("INT8", 128), ("INT8", -129), ("INT16", 32768), ("UINT8", 256), ("UINT16", 65536)]
)
def test_a_typed_value_that_would_be_narrowed_is_refused(datatype: str, value: int) -> None:
    kind = np.int32 if datatype.startswith("INT") else np.uint32
    for values in ([0, value], np.array([0, value], kind)):
        with pytest.raises(InvalidInput, match=f"^input 'x': a value does not fit {datatype}: {value}$"):
            from_values("x", datatype, [2], values)


def test_typed_values_of_another_count_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"^input 'x': shape \[2\] takes 2 values, got 1$"):
        from_values("x", "FP32", [2], [1.0])
    with pytest.raises(InvalidInput, match=r"^input 'x': shape \[2\] takes 2 values, got 1$"):
        from_values("x", "BYTES", [2], [b"a"])
