"""Trees whose leaves are linear models, as LightGBM's `linear_tree` makes them.

The trees are asked for the number of the leaf; tables give its terms. All sums are FP64, as LightGBM's are: terms may
be large and cancel.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from onnx import TensorProto

from converters.boosting.operators import Operators
from converters.boosting.tree_ensemble import tree_ensemble
from converters.boosting.trees import LARGEST_WHOLE_NUMBER, LEAF, BoostedModel, Tree
from model_store.errors import ConversionError


def linear_leaf_sums(ops: Operators, model: BoostedModel, data: str, treated: str, *, double: bool) -> str:
    """FP32[-1, targets]: for each target the sum of its trees' linear leaves.

    The trees look at the columns as they are `treated`, the leaves at `data` itself.
    Raises `ConversionError` for more leaves than float32 can number.
    """
    leaves = model.linear_leaves
    assert leaves is not None
    if len(leaves.constants) > LARGEST_WHOLE_NUMBER:
        raise ConversionError(f"the model has {len(leaves.constants)} linear leaves; at most 2^24 can be converted")
    numbered = [
        _numbered(tree, first, index)
        for index, (tree, first) in enumerate(zip(model.trees, leaves.first_leaf, strict=True))
    ]
    numbers = ops.add(tree_ensemble(numbered, model.comparison, len(numbered), treated, double=double))
    leaf = ops("Cast", numbers, to=TensorProto.INT64)
    trees, terms = len(numbered), leaves.features.shape[1]
    constant = ops("Gather", ops.constant(leaves.constants, np.float64), leaf)
    if terms:
        values = _terms(ops, data, leaf, leaves.features, trees, double)
        products = ops("Mul", values, ops("Gather", ops.constant(leaves.coefficients, np.float64), leaf))
        linear = ops("Add", constant, ops("ReduceSum", products, ops.constant([2], np.int64), keepdims=0))
        unknown = ops("Cast", ops("IsNaN", values), to=TensorProto.INT32)
        unknown = ops("ReduceMax", unknown, ops.constant([2], np.int64), keepdims=0)
        fallback = ops("Gather", ops.constant(leaves.fallbacks, np.float64), leaf)
        constant = ops("Where", ops("Cast", unknown, to=TensorProto.BOOL), fallback, linear)
    # Trees take turns over the targets. A product with a table of owners would spread infinities to all of them.
    rounds = ops("Reshape", constant, ops.constant([0, -1, model.targets], np.int64))
    return ops("Cast", ops("ReduceSum", rounds, ops.constant([1], np.int64), keepdims=0), to=TensorProto.FLOAT)


def _terms(ops: Operators, data: str, leaf: str, features: np.ndarray, trees: int, double: bool) -> str:
    """FP64[-1, trees, terms]: the columns that the leaves ask for; a zero where a leaf has no more."""
    wide = data if double else ops("Cast", data, to=TensorProto.DOUBLE)
    padded = ops("Pad", wide, ops.constant([0, 0, 0, 1], np.int64), ops.constant(0, np.float64))
    columns = ops("Reshape", ops("Gather", ops.constant(features, np.int64), leaf), ops.constant([0, -1], np.int64))
    terms = features.shape[1]
    return ops("Reshape", ops("GatherElements", padded, columns, axis=1), ops.constant([0, trees, terms], np.int64))


def _numbered(tree: Tree, first: int, index: int) -> Tree:
    """The tree with the numbers of its leaves for answers, as target `index`."""
    numbers = np.zeros(len(tree.feature))
    leaves = np.flatnonzero(tree.feature == LEAF)
    numbers[leaves] = first + np.arange(len(leaves))
    return dataclasses.replace(tree, values=numbers.reshape(-1, 1), target=index)
