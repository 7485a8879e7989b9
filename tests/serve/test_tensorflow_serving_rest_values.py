"""Any JSON that a client of TensorFlow Serving's REST API may send: read as the signature says, or refused."""

from __future__ import annotations

import json
import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from model_store.errors import InvalidInput, Unsupported
from model_store.manifest import Signature, TensorSpec
from serve.dialects.tensorflow_serving_rest import TensorFlowServingRest
from serve.inference import InferenceRequest, Query
from tests.serve.tensorflow_serving_calls import request
from tests.serve.tensorflow_serving_models import tensor

SIGNATURES = [
    Signature((tensor("x", "FP32", 2),), ()),
    Signature((tensor("x", "UINT8", 2),), ()),
    Signature((tensor("x", "BOOL"), tensor("s", "BYTES", 1)), ()),
    Signature((TensorSpec("x", "FP64", ()),), ()),
]
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=3),
    st.builds(lambda t: {"b64": t}, st.text(max_size=4)),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["x", "s", "b64"]), inner),
    max_leaves=8,
)


@given(st.sampled_from(["instances", "inputs"]), VALUES, st.sampled_from(SIGNATURES))
def test_any_value_is_read_as_the_signature_says_or_refused(key: str, value: Any, signature: Signature) -> None:
    query = decoded(json.dumps({key: value}).encode())
    assert isinstance(query, InferenceRequest)
    assert query.read_inputs is not None
    try:
        inputs = query.read_inputs(signature)
    except InvalidInput:
        return
    assert list(inputs) == [spec.name for spec in signature.inputs]


@given(st.binary(max_size=60) | st.text(alphabet='{}[]":,NaInfity-0123456789.eE ', max_size=60).map(str.encode))
def test_any_body_is_a_request_or_refused(body: bytes) -> None:
    for action in ("predict", "classify"):
        try:
            query = decoded(body, action)
            assert isinstance(query, InferenceRequest)
            assert query.read_inputs is not None
            query.read_inputs(SIGNATURES[0])
        except (InvalidInput, Unsupported):
            continue


def decoded(body: bytes, action: str = "predict") -> Query:
    return TensorFlowServingRest().decode(request("POST", f"/v1/models/m:{action}", body))


def test_the_quick_way_and_the_long_way_read_the_same() -> None:
    text = b'{"instances": [{"x": [1, 2.5]}, {"x": [3e2, -4]}]}'
    quick = decoded(text)
    long = decoded(text.replace(b"-4", b"-Infinity"))
    assert isinstance(quick, InferenceRequest)
    assert isinstance(long, InferenceRequest)
    assert quick.read_inputs is not None
    assert long.read_inputs is not None
    first, second = quick.read_inputs(SIGNATURES[0])["x"], long.read_inputs(SIGNATURES[0])["x"]
    assert (first.dtype, second.dtype) == (first.dtype, first.dtype)
    assert (first.tolist(), second.tolist()) == ([[1, 2.5], [300, -4]], [[1, 2.5], [300, -math.inf]])
