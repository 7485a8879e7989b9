"""The likeliest classes of an output as text: the `classification` extension of the Open Inference Protocol.

Protocol-free, so that HTTP and gRPC answer alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from model_store.errors import InvalidInput
from serve.inference import InferenceResponse, Tensors
from serve.tensors import datatype_of


def with_classes(response: InferenceResponse, outputs: Tensors, wanted: Mapping[str, int]) -> Tensors:
    """`outputs` with as many classes of those in `wanted` in their place as are given there; raises `InvalidInput`."""
    return {
        name: classify(tensor, wanted[name], response.labels, batched=response.batched) if name in wanted else tensor
        for name, tensor in outputs.items()
    }


def classify(
    scores: np.ndarray, count: int, labels: Sequence[str] | None = None, *, batched: bool = True
) -> np.ndarray:
    """The `count` highest scores of each row as BYTES `value:index[:label]`, highest first, equal ones by index.

    `scores` is number[N, ...], each row flattened, or number[...], one row, where the model has no batch dimension.
    Returns BYTES[N, K] or BYTES[K]; K is `count`, which is above 0, or all classes where there are fewer. Values are
    written as Triton writes them: integers whole, others with six digits after the point. NaN comes last. A class
    without a label has none. Raises `InvalidInput` for BOOL and BYTES, which have no order.
    """
    if datatype_of(scores) == "BF16":
        scores = scores.astype(np.float32)
    elif scores.dtype.kind not in "iuf":
        raise InvalidInput(f"an output of {datatype_of(scores)} has no classes; ask for it without 'classification'")
    row_shape = scores.shape[1:] if batched else scores.shape
    rows = scores.reshape(len(scores) if batched else 1, math.prod(row_shape))
    likeliest = _descending(rows)[:, :count]
    write = "{}:{}{}".format if rows.dtype.kind in "iu" else "{:f}:{}{}".format
    names = labels or ()
    classes = np.empty(likeliest.shape, dtype=object)
    for row, indexes in enumerate(likeliest.tolist()):
        values = rows[row, indexes].tolist()
        classes[row] = [
            write(value, index, f":{names[index]}" if index < len(names) else "").encode()
            for value, index in zip(values, indexes, strict=True)
        ]
    return classes if batched else classes.reshape(-1)


def _descending(rows: np.ndarray) -> np.ndarray:
    """The indexes of each row's values from high to low; a stable sort keeps equal ones in order."""
    # Unsigned integers and the smallest signed one have no negative: they are sorted from behind instead.
    floating = rows.dtype.kind == "f"
    order: np.ndarray = np.argsort(-rows if floating else rows[:, ::-1], axis=1, kind="stable")
    return order if floating else rows.shape[1] - 1 - order[:, ::-1]
