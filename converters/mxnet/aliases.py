"""Names under which operators were registered more than once: alias -> the name that the translations use.

A file holds the name of the release that wrote it (`add_alias` of nnvm registrations, 0.8 to 2.0).
"""

from __future__ import annotations

from collections.abc import Mapping

_ELEMENTWISE = {"Plus": "elemwise_add", "plus": "elemwise_add", "add": "elemwise_add", "Minus": "elemwise_sub",
                "minus": "elemwise_sub", "sub": "elemwise_sub", "Mul": "elemwise_mul", "mul": "elemwise_mul",
                "Div": "elemwise_div", "div": "elemwise_div", "grad_add": "elemwise_add"}  # fmt: skip
_SCALARS = ("Plus", "Minus", "RMinus", "Mul", "Div", "RDiv", "Power", "RPower", "Mod", "RMod", "Maximum", "Minimum",
            "Hypot", "Equal", "Greater", "Lesser", "Logical_And", "Logical_Or", "Logical_Xor")  # fmt: skip
_BINARY = ("Power", "Maximum", "Minimum", "Mod", "Hypot", "Equal", "Greater", "Lesser", "Logical_And", "Logical_Or",
           "Logical_Xor")  # fmt: skip
_COMPARISONS = {"NotEqual": "not_equal", "Not_Equal": "not_equal", "GreaterEqual": "greater_equal",
                "Greater_Equal": "greater_equal", "LesserEqual": "lesser_equal", "Lesser_Equal": "lesser_equal",
                "LogicalAnd": "logical_and", "LogicalOr": "logical_or", "LogicalXor": "logical_xor"}  # fmt: skip
_SPARSE = (
    "abs", "add_n", "adagrad_update", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctanh", "broadcast_add",
    "broadcast_div", "broadcast_mul", "broadcast_sub", "cast_storage", "cbrt", "ceil", "clip", "concat", "cos",
    "cosh", "degrees", "dot", "elemwise_add", "elemwise_div", "elemwise_mul", "elemwise_sub", "exp", "expm1", "fix",
    "floor", "gamma", "gammaln", "log", "log10", "log1p", "log2", "make_loss", "mean", "negative", "norm", "radians",
    "relu", "retain", "rint", "round", "rsqrt", "sigmoid", "sign", "sin", "sinh", "slice", "sqrt", "square",
    "stop_gradient", "sum", "tan", "tanh", "trunc", "where", "zeros_like",
)  # fmt: skip

_PLAIN = {
    "ElementWiseSum": "add_n",
    "_sparse_ElementWiseSum": "add_n",
    "Softmax": "SoftmaxOutput",
    "swapaxes": "SwapAxis",
    "split": "SliceChannel",
    "cast": "Cast",
    "concat": "Concat",
    "flatten": "Flatten",
    "reshape": "Reshape",
    "crop": "slice",
    "pad": "Pad",
    "flip": "reverse",
    "Convolution_v1": "Convolution",
    "BatchNorm_v1": "BatchNorm",
    "CuDNNBatchNorm": "BatchNorm",
    "_contrib_SyncBatchNorm": "BatchNorm",
    "sum_axis": "sum",
    "max_axis": "max",
    "min_axis": "min",
    "broadcast_axes": "broadcast_axis",
    "broadcast_plus": "broadcast_add",
    "broadcast_minus": "broadcast_sub",
    "stop_gradient": "BlockGrad",
    "make_loss": "MakeLoss",
    "identity": "_copy",
    "_contrib_SparseEmbedding": "Embedding",
    "_sparse_Embedding": "Embedding",
    "_contrib_box_non_maximum_suppression": "_contrib_box_nms",
    "choose_element_0index": "pick",
    "linalg_gemm": "_linalg_gemm",
    "linalg_gemm2": "_linalg_gemm2",
    "linalg_syrk": "_linalg_syrk",
    "_sparse_LinearRegressionOutput": "LinearRegressionOutput",
    "_sparse_LogisticRegressionOutput": "LogisticRegressionOutput",
    "_sparse_MAERegressionOutput": "MAERegressionOutput",
    "_np_copy": "_copy",
    "_np_identity": "_copy",
    "_npi_cumsum": "_np_cumsum",
}


def _snake(name: str) -> str:
    head = name[1:] if name[:1] == "R" and name[1:2].isupper() else name
    return ("r" if head is not name else "") + head.lower()


CANONICAL: Mapping[str, str] = {
    **{f"_{alias}": name for alias, name in _ELEMENTWISE.items()},
    **{f"_{name}Scalar": f"_{_snake(name)}_scalar" for name in _SCALARS},
    **{f"_{alias}Scalar": f"_{name}_scalar" for alias, name in _COMPARISONS.items()},
    **{f"_{name}": f"_{name.lower()}" for name in _BINARY},
    **{f"_{alias}": f"_{name}" for alias, name in _COMPARISONS.items()},
    **{f"_sparse_{name}": name for name in _SPARSE},
    **{f"_scatter_{kind}_scalar": f"_{kind}_scalar" for kind in ("plus", "minus")},
    "_scatter_elemwise_div": "elemwise_div",
    "_sparse_stop_gradient": "BlockGrad",
    "_sparse_make_loss": "MakeLoss",
    "_sparse_concat": "Concat",
    "_sparse_reshape": "Reshape",
    **_PLAIN,
}
"""Alias -> canonical name."""
