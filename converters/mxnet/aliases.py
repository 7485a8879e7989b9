"""Names under which operators were registered more than once: alias -> the name that the translations use.

A file holds the name of the release that wrote it: `add_alias` of the registrations in MXNet's sources, 0.8 to 2.0.
Left out are names of operators that have no translation: optimisers, losses of training, random numbers.
"""

from __future__ import annotations

from collections.abc import Mapping

_WORDS = {
    "BatchNorm_v1": "BatchNorm",
    "Convolution_v1": "Convolution",
    "CuDNNBatchNorm": "BatchNorm",
    "ElementWiseSum": "add_n",
    "Softmax": "SoftmaxOutput",
    "_contrib_SparseEmbedding": "Embedding",
    "_contrib_SyncBatchNorm": "BatchNorm",
    "_contrib_box_non_maximum_suppression": "_contrib_box_nms",
    "_crop_assign": "_slice_assign",
    "_crop_assign_scalar": "_slice_assign_scalar",
    "_scatter_elemwise_div": "elemwise_div",
    "_scatter_minus_scalar": "_minus_scalar",
    "_scatter_plus_scalar": "_plus_scalar",
    "broadcast_axes": "broadcast_axis",
    "broadcast_minus": "broadcast_sub",
    "broadcast_plus": "broadcast_add",
    "cast": "Cast",
    "choose_element_0index": "pick",
    "concat": "Concat",
    "crop": "slice",
    "cumsum": "_np_cumsum",
    "flatten": "Flatten",
    "flip": "reverse",
    "identity": "_copy",
    "make_loss": "MakeLoss",
    "max_axis": "max",
    "min_axis": "min",
    "pad": "Pad",
    "ravel_multi_index": "_ravel_multi_index",
    "reshape": "Reshape",
    "split": "SliceChannel",
    "stop_gradient": "BlockGrad",
    "sum_axis": "sum",
    "swapaxes": "SwapAxis",
    "unravel_index": "_unravel_index",
}

_ELEMENTWISE = {
    "add": ("Plus", "plus", "add", "grad_add"),
    "sub": ("Minus", "minus", "sub"),
    "mul": ("Mul", "mul"),
    "div": ("Div", "div"),
}
"""elemwise_add -> _Plus, .."""
_BINARY = (
    "Equal", "Greater", "Greater_Equal", "Hypot", "Lesser", "Lesser_Equal", "Logical_And", "Logical_Or", "Logical_Xor",
    "Maximum", "Minimum", "Mod", "Not_Equal", "Power",
)  # fmt: skip
"""_Not_Equal -> _not_equal, _NotEqualScalar -> _not_equal_scalar."""
_WITH_SCALAR = ("Div", "Minus", "Mul", "Plus", "RDiv", "RMinus", "RMod", "RPower")
"""_RDivScalar -> _rdiv_scalar."""

_SPARSE = (
    "ElementWiseSum", "Embedding", "FullyConnected", "LinearRegressionOutput", "LogisticRegressionOutput",
    "MAERegressionOutput", "_contrib_round_ste", "_contrib_sign_ste", "abs", "add_n", "arccos", "arccosh", "arcsin",
    "arcsinh", "arctan", "arctanh", "broadcast_add", "broadcast_div", "broadcast_minus", "broadcast_mul",
    "broadcast_plus", "broadcast_sub", "cast_storage", "cbrt", "ceil", "clip", "concat", "cos", "cosh", "degrees",
    "dot", "elemwise_add", "elemwise_div", "elemwise_mul", "elemwise_sub", "exp", "expm1", "fix", "floor", "gamma",
    "gammaln", "log", "log10", "log1p", "log2", "make_loss", "mean", "negative", "norm", "radians", "relu", "reshape",
    "rint", "round", "rsqrt", "sigmoid", "sign", "sin", "sinh", "slice", "sqrt", "square", "stop_gradient", "sum",
    "tan", "tanh", "trunc", "where", "zeros_like",
)  # fmt: skip
"""_sparse_abs -> abs, _sparse_concat -> Concat."""
_LINEAR_ALGEBRA = (
    "det", "extractdiag", "extracttrian", "gemm", "gemm2", "inverse", "makediag", "maketrian", "potrf", "potri",
    "slogdet", "sumlogdiag", "syrk", "trmm", "trsm",
)  # fmt: skip
"""linalg_det -> _linalg_det."""

_NUMPY = {
    "amax": "_np_max",
    "amin": "_np_min",
    "copy": "_copy",
    "product": "_np_prod",
    "repeat": "repeat",
    "sometrue": "_np_any",
}
"""_np_amax -> _np_max, ..: of numpy's front end, where it shares an operator or calls it by two names."""
_NUMPY_INTERNAL = {
    "abs": "_npi_absolute",
    "boolean_mask": "_contrib_boolean_mask",
    "cast": "Cast",
    "cumsum": "_np_cumsum",
    "det": "_linalg_det",
    "inv": "_linalg_inverse",
    "maximum": "broadcast_maximum",
    "minimum": "broadcast_minimum",
    "nonzero": "_npx_nonzero",
    "reshape": "_npx_reshape",
    "slogdet": "_linalg_slogdet",
    "split": "_split_v2",
    "swapaxes": "SwapAxis",
    **{name: name for name in ("argsort", "clip", "expand_dims", "gather_nd", "slice", "sort", "take", "tile")},
    **{
        name: f"_{name}"
        for name in ("copyto", "full", "hypot_scalar", "linspace", "maximum_scalar", "minimum_scalar",
                     "rnn_param_concat", "scatter_set_nd", "slice_assign", "slice_assign_scalar")
    },
}  # fmt: skip
"""_npi_abs -> _npi_absolute, .."""
_NUMPY_EXTENSION = {
    "_image_crop": "_image_crop",
    "_image_normalize": "_image_normalize",
    "_image_resize": "_image_resize",
    "_image_to_tensor": "_image_to_tensor",
    "activation": "Activation",
    "arange_like": "_contrib_arange_like",
    "batch_flatten": "Flatten",
    "batch_norm": "BatchNorm",
    "cast": "Cast",
    "convolution": "Convolution",
    "deconvolution": "Deconvolution",
    "dropout": "Dropout",
    "embedding": "Embedding",
    "fully_connected": "FullyConnected",
    "layer_norm": "LayerNorm",
    "leaky_relu": "LeakyReLU",
    "multibox_detection": "_contrib_MultiBoxDetection",
    "multibox_prior": "_contrib_MultiBoxPrior",
    "pooling": "Pooling",
    "rnn": "RNN",
    "roi_pooling": "ROIPooling",
    "sequence_mask": "SequenceMask",
    **{
        name: name
        for name in ("batch_dot", "erf", "erfinv", "gamma", "gammaln", "gather_nd", "log_softmax", "one_hot", "pick",
                     "reshape_like", "shape_array", "slice", "smooth_l1", "softmax", "topk")
    },
}  # fmt: skip
"""_npx_activation -> Activation, .."""

CANONICAL: Mapping[str, str] = {
    **_WORDS,
    **{f"_{alias}": f"elemwise_{name}" for name, aliases in _ELEMENTWISE.items() for alias in aliases},
    **{f"_{name}": f"_{name.lower()}" for name in _BINARY},
    **{f"_{name.replace('_', '')}Scalar": f"_{name.lower()}_scalar" for name in (*_BINARY, *_WITH_SCALAR)},
    **{f"_sparse_{name}": _WORDS.get(name, name) for name in _SPARSE},
    **{f"linalg_{name}": f"_linalg_{name}" for name in _LINEAR_ALGEBRA},
    **{f"_np_{alias}": name for alias, name in _NUMPY.items()},
    **{f"_npi_{alias}": name for alias, name in _NUMPY_INTERNAL.items()},
    **{f"_npx_{alias}": name for alias, name in _NUMPY_EXTENSION.items()},
}
"""Alias -> canonical name."""
