"""Looks at a model's config before Keras builds anything from it: what would run code, what needs classes from outside.

Keras 3's safe mode refuses lambdas too; looking first gives one clear message, and holds for `.h5` files of Keras 2,
where tf_keras runs a lambda without asking.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from model_store.errors import SourceError, TrustRequired

RUNS_CODE = frozenset({"Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper", "FlaxLayer", "JaxLayer"})
"""Classes whose config carries code, or the path of a program to load."""
OWN_MODULES = frozenset({"keras", "tf_keras", "tensorflow", "builtins"})
KERAS_MODULE = re.compile(
    r"(tensorflow\.python\.)?(tf_)?keras(\.api)?(\._tf_keras\.keras)?(\.src)?(\.engine|\.legacy)?"
    r"(\.(layers|models|activations|initializers|regularizers|constraints|dtype_policies|random|losses|metrics"
    r"|optimizers|ops|quantizers|mixed_precision)(\..+)?"
    r"|\.(functional|sequential|training))?"
)
"""Where Keras keeps what a model is made of; its modules that read files or the network are none of them."""
BUILTINS = frozenset({"function", "type", "slice", "tuple", "list", "dict", "Ellipsis"})
SYMBOL_LAYERS = frozenset({"TFOpLambda", "SlicingOpLambda", "ClassMethod", "InstanceMethod", "InstanceProperty"})
"""Layers of Keras 2 that call a function of TensorFlow by its name."""
HARMLESS_SYMBOL = re.compile(
    r"(compat\.v[12]\.)?((math|nn|linalg|signal|strings|image|bitwise|keras\.activations|__operators__)\.[\w.]+"
    r"|keras\.backend\.(?!set_|clear_|reset_|manual_|get_|learning_)\w+"
    r"|abs|acos|add|add_n|argmax|argmin|argsort|asin|atan|boolean_mask|broadcast_to|cast|clip_by_value|concat"
    r"|constant|convert_to_tensor|cos|cosh|cumsum|divide|einsum|equal|exp|expand_dims|eye|fill|floor|gather|gather_nd"
    r"|greater|greater_equal|identity|less|less_equal|linspace|logical_and|logical_not|logical_or|matmul|maximum"
    r"|minimum|multiply|negative|norm|not_equal|one_hot|ones|ones_like|pad|pow|range|rank|realdiv|reduce_\w+"
    r"|repeat|reshape|reverse|roll|round|scatter_nd|sequence_mask|shape|sigmoid|sign|sin|sinh|size|slice|sort|split"
    r"|sqrt|square|squeeze|stack|stop_gradient|strided_slice|subtract|switch_case|tan|tanh|tensordot|tile|transpose"
    r"|truediv|truncatediv|unstack|where|zeros|zeros_like)"
)
"""Functions of TensorFlow that compute on tensors and do nothing else."""
READS_FILES = frozenset({"vocabulary", "vocabulary_file", "vocab_path"})
"""Keys of lookup layers that hold a list of words, or the path of a file of them."""


def vet_config(config: Any, source: str, custom: Collection[str] = ()) -> None:
    """`custom` holds the names that the user gave classes for.

    Raises `TrustRequired`, naming layer and class, when building the model would run code of the file or read
    other files, and `SourceError` when it needs classes that are not Keras's own.
    """
    missing: dict[str, str] = {}
    for item in objects_of(config):
        name = str(item["class_name"])
        function = _called_function(item)
        if function is not None:
            if not {function, function.rpartition(">")[2]} & set(custom):
                missing[function] = f"{_importable(None)}:{function}"
        elif name in RUNS_CODE:
            raise _trust(source, item, f"is a {name}, which carries code; replace it by a layer of Keras")
        if name in SYMBOL_LAYERS:
            _vet_symbol(source, item)
        _vet_files(source, item)
        short, path = _of_the_user(item) or (name, None)
        if path is not None and not {name, str(item.get("registered_name")), short} & set(custom):
            missing[short] = path
    if missing:
        raise missing_classes(source, missing)


def _called_function(item: dict[str, Any]) -> str | None:
    """The function that a Lambda layer names, where it holds the name and no code."""
    config = item.get("config")
    if item["class_name"] != "Lambda" or not isinstance(config, dict):
        return None
    if any(config.get(key) == "lambda" for key in ("function_type", "output_shape_type", "mask_type")):
        return None
    function = config.get("function")
    if isinstance(function, dict) and function.get("class_name") == "function":
        function = function.get("config")
    elif config.get("function_type") != "function":
        return None
    return function if isinstance(function, str) else None


def _of_the_user(item: dict[str, Any]) -> tuple[str, str] | None:
    """Name and likely import path of a class that is not Keras's."""
    name, module, registered = str(item["class_name"]), item.get("module"), item.get("registered_name")
    function = item.get("config")
    if (name, module) == ("function", "builtins") and isinstance(function, str) and hasattr(builtins, function):
        return function, f"{_importable(None)}:{function}"  # Python's own, which no layer is made of
    if isinstance(module, str):
        return None if _is_own(module, name) else (name, f"{_importable(module)}:{name}")
    if isinstance(registered, str) and registered != name:
        return name, f"{_importable(None)}:{name}"
    return None


def _importable(module: str | None) -> str:
    return module if module and module != "__main__" and module.split(".")[0] not in OWN_MODULES else "package.module"


def _is_own(module: str, name: str) -> bool:
    if module == "builtins":
        return name in BUILTINS
    return KERAS_MODULE.fullmatch(module) is not None


def missing_classes(source: str, paths: Mapping[str, str]) -> SourceError:
    """What to say where classes or functions are missing: name -> import path, as far as it is known."""
    config = ", ".join(f'{name}: "{path}"' for name, path in paths.items())
    return SourceError(
        f"source {source!r} needs {', '.join(paths)}, whose code is not in the file; name it in the config as "
        f"`custom_objects: {{{config}}}`",
        names=list(paths),
    )


def _trust(source: str, item: dict[str, Any], what: str) -> TrustRequired:
    name = str(item["class_name"])
    return TrustRequired(f"source {source!r}: layer {_layer_name(item)!r} {what}, or say `trust: true`", name=name)


def _layer_name(item: dict[str, Any]) -> str:
    config = item.get("config")
    name = config.get("name") if isinstance(config, dict) else None
    return str(name or item.get("name") or item["class_name"])


def _vet_symbol(source: str, item: dict[str, Any]) -> None:
    config = item.get("config")
    config = config if isinstance(config, dict) else {}
    symbol = config.get("function", config.get("symbol"))
    if item["class_name"] == "SlicingOpLambda" and symbol is None:
        return
    if not isinstance(symbol, str) or not HARMLESS_SYMBOL.fullmatch(symbol):
        raise _trust(source, item, f"calls the function {symbol!r} of TensorFlow, which does more than compute")


def _vet_files(source: str, item: dict[str, Any]) -> None:
    config = item.get("config")
    if not isinstance(config, dict):
        return
    for key in READS_FILES & set(config):
        if isinstance(config[key], str):
            raise _trust(source, item, f"reads the file {config[key]!r}; adapt() it or give it a list of words")


def objects_of(value: Any) -> Iterator[dict[str, Any]]:
    """Every serialised object of the config, wherever it is nested."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            if "class_name" in item:
                yield item
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
