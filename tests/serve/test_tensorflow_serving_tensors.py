"""`TensorProto` to tensors and back: raw and typed values, short lists, shapes that claim too much."""

from __future__ import annotations

import math
import tracemalloc
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.datatypes import DTYPES
from model_store.errors import InvalidInput
from serve.dialects.tensorflow_tensors import MAX_FILLED_BYTES, from_proto, number_of, write_proto
from serve.protocols.tensorflow_serving import TensorProto

TYPED = [
    ("FP32", 1, "float_val", [1.5, math.inf]),
    ("FP64", 2, "double_val", [0.1, 1e300]),
    ("INT32", 3, "int_val", [-(2**31), 2**31 - 1]),
    ("UINT8", 4, "int_val", [0, 255]),
    ("INT16", 5, "int_val", [-32768, 32767]),
    ("INT8", 6, "int_val", [-128, 127]),
    ("BYTES", 7, "string_val", [b"a", b"\xff"]),
    ("INT64", 9, "int64_val", [-(2**63), 2**63 - 1]),
    ("BOOL", 10, "bool_val", [True, False]),
    ("UINT16", 17, "int_val", [0, 65535]),
    ("UINT32", 22, "uint32_val", [0, 2**32 - 1]),
    ("UINT64", 23, "uint64_val", [0, 2**64 - 1]),
]
HALVES = [("FP16", 19, np.float16, [0x3E00, 0xC000]), ("BF16", 14, ml_dtypes.bfloat16, [0x3FC0, 0xC000])]


def proto(dtype: int, shape: list[int], **values: Any) -> Any:
    """A message as it comes off the wire."""
    message = TensorProto(dtype=dtype, **values)
    for size in shape:
        message.tensor_shape.dim.add(size=size)
    return TensorProto.FromString(message.SerializeToString())


@pytest.mark.parametrize(("datatype", "number", "field", "values"), TYPED, ids=[case[0] for case in TYPED])
def test_typed_lists_are_read_and_written(datatype: str, number: int, field: str, values: list[Any]) -> None:
    tensor = from_proto("x", proto(number, [2, 1], **{field: values}))
    assert (tensor.dtype, tensor.shape, tensor.ravel().tolist()) == (DTYPES[datatype], (2, 1), values)
    written = TensorProto()
    write_proto(tensor, written)
    assert written == proto(number, [2, 1], **{field: values})
    assert number_of(datatype) == number


@pytest.mark.parametrize(("datatype", "number", "dtype", "bits"), HALVES, ids=["FP16", "BF16"])
def test_half_precision_is_the_bits_in_the_low_half(datatype: str, number: int, dtype: Any, bits: list[int]) -> None:
    tensor = from_proto("x", proto(number, [2], half_val=bits))
    assert (tensor.dtype, tensor.astype(np.float32).tolist()) == (np.dtype(dtype), [1.5, -2.0])
    # The upper half of the field is not theirs.
    assert from_proto("x", proto(number, [2], half_val=[bits[0] | 0x10000, bits[1] - 0x10000])).tolist() == [1.5, -2.0]
    written = TensorProto()
    write_proto(tensor, written)
    assert written == proto(number, [2], half_val=bits)


@pytest.mark.parametrize("datatype", [case[0] for case in TYPED if case[0] != "BYTES"] + ["FP16", "BF16"])
def test_raw_content_is_a_view(datatype: str) -> None:
    sent = np.array([[1, 0], [1, 1]]).astype(DTYPES[datatype])
    tensor = from_proto("x", proto(number_of(datatype), [2, 2], tensor_content=sent.tobytes()))
    assert (tensor.dtype, tensor.tolist()) == (sent.dtype, sent.tolist())
    assert not tensor.flags.owndata


def test_scalars_have_no_shape_or_no_dimensions() -> None:
    assert from_proto("x", TensorProto(dtype=1, float_val=[2.5])).shape == ()
    assert from_proto("x", proto(1, [], float_val=[2.5])).item() == 2.5
    written = TensorProto()
    write_proto(np.float32(2.5).reshape(()), written)
    assert written.HasField("tensor_shape")
    assert list(written.tensor_shape.dim) == []


@pytest.mark.parametrize(
    ("values", "expected"), [([7], [7, 7, 7]), ([7, 8], [7, 8, 8]), ([], [0, 0, 0]), ([7, 8, 9], [7, 8, 9])]
)
def test_a_short_list_goes_on_with_its_last_value(values: list[int], expected: list[int]) -> None:
    assert from_proto("x", proto(1, [3], float_val=values)).tolist() == expected
    assert from_proto("x", proto(9, [3], int64_val=values)).tolist() == expected


def test_short_lists_of_text_truth_and_halves_are_filled() -> None:
    assert from_proto("x", proto(7, [3], string_val=[b"a"])).tolist() == [b"a"] * 3
    assert from_proto("x", proto(7, [2])).tolist() == [b"", b""]
    assert from_proto("x", proto(10, [2])).tolist() == [False, False]
    assert from_proto("x", proto(19, [2], half_val=[0x3E00])).tolist() == [1.5, 1.5]


def test_zero_sized_tensors_are_legal() -> None:
    assert from_proto("x", proto(1, [0, 2])).shape == (0, 2)
    assert from_proto("x", proto(7, [2, 0])).shape == (2, 0)


REFUSED = [
    (proto(8, [1], scomplex_val=[1, 2]), "input 'x': tensors of DT_COMPLEX64 are not taken"),
    (proto(11, [1]), "input 'x': tensors of DT_QINT8 are not taken"),
    (proto(101, [1]), "input 'x': tensors of type 101 are not taken"),
    (TensorProto(), "input 'x': tensors of DT_INVALID are not taken"),
    (proto(1, [-1]), "input 'x': expected sizes of 0 or more, got shape [-1]"),
    (proto(1, [1] * 65), "input 'x': a tensor has at most 64 dimensions, got 65"),
    (proto(1, [2], float_val=[1, 2, 3]), "input 'x': shape [2] takes 2 values, got 3"),
    (proto(1, [2], tensor_content=b"1234"), "input 'x': FP32[2] takes 8 bytes, got 4"),
    (proto(4, [1], int_val=[256]), "input 'x': a value does not fit UINT8: 256"),
    (proto(6, [1], int_val=[-129]), "input 'x': a value does not fit INT8: -129"),
    (proto(10, [1], tensor_content=b"\2"), "input 'x': a BOOL is one byte, 0 or 1; got 2"),
    (proto(7, [1], tensor_content=b"\1a"), "input 'x': expected DT_STRING values in string_val, got tensor_content"),
    (proto(1, [0, 2**62]), "input 'x': shape [0, 4611686018427387904] is larger than any memory"),
    (
        proto(1, [2**40], float_val=[1]),
        "input 'x': shape [1099511627776] takes 1099511627776 values, got 1; to be filled up from so few, a tensor may "
        "have 4194304 bytes at most",
    ),
]


@pytest.mark.parametrize(("message", "text"), REFUSED)
def test_a_tensor_that_can_t_be_is_refused_before_memory_is_taken(message: Any, text: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInput) as refused:
            from_proto("x", message)
        assert refused.value.message == text
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_an_unknown_rank_is_refused() -> None:
    message = TensorProto(dtype=1, float_val=[1])
    message.tensor_shape.unknown_rank = True
    with pytest.raises(InvalidInput, match=r"^input 'x': expected a tensor with a shape, got one of unknown rank$"):
        from_proto("x", message)


def test_the_largest_filled_tensor_is_as_large_as_one_that_is_sent_in_full() -> None:
    assert from_proto("x", proto(1, [MAX_FILLED_BYTES // 4], float_val=[1])).shape == (1 << 20,)
    with pytest.raises(InvalidInput, match="4194304 bytes at most"):
        from_proto("x", proto(1, [MAX_FILLED_BYTES // 4 + 1], float_val=[1]))


@given(
    st.integers(0, 140),
    st.lists(st.sampled_from([-1, 0, 1, 2, 3, 2**20, 2**62]), max_size=4),
    st.binary(max_size=24),
    st.lists(st.integers(-(2**31), 2**31 - 1), max_size=6),
)
def test_any_message_is_a_tensor_of_its_shape_or_refused(
    dtype: int, shape: list[int], content: bytes, values: list[int]
) -> None:
    message = proto(dtype, shape, tensor_content=content, int_val=values, half_val=values, string_val=[content])
    try:
        tensor = from_proto("x", message)
    except InvalidInput:
        return
    assert list(tensor.shape) == shape
