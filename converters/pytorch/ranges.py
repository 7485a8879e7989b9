"""Where integer inputs may lie: those that index an embedding, a table or an axis must stay inside of it.

Read from the graph of a program or of TorchScript; an index may pass through reshapes and casts on its way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from converters.base import Range
from model_store.manifest import TensorSpec

_FIRST_AXIS, _AXIS_OF_CALL = 0, None
_INDEXING: dict[str, tuple[int, int, int | None]] = {
    # operator: place of the table, place of the index, axis of the table that is indexed
    "embedding": (0, 1, _FIRST_AXIS),
    "embedding_bag": (0, 1, _FIRST_AXIS),
    "_embedding_bag": (0, 1, _FIRST_AXIS),
    "_embedding_bag_forward_only": (0, 1, _FIRST_AXIS),
    "index_select": (0, 2, _AXIS_OF_CALL),
    "gather": (0, 2, _AXIS_OF_CALL),
    "scatter": (0, 2, _AXIS_OF_CALL),
    "scatter_add": (0, 2, _AXIS_OF_CALL),
}
PASSING = frozenset(
    re.findall(
        r"\w+",
        """
        to _to_copy long int view reshape flatten unsqueeze squeeze clone alias contiguous detach expand slice select
        transpose permute t lift_fresh_copy _unsafe_view type_as
        """,
    )
)
"""Operators whose result is their first argument in another form."""


def program_ranges(exported: Any, inputs: Iterable[str]) -> dict[str, Range]:
    """Inputs of an exported program by name -> smallest and largest index."""
    wanted, limits = set(inputs), dict[str, int]()
    for node in exported.graph.nodes:
        if node.op != "call_function":
            continue
        for table, index, axis in _uses(_operator(node.target), node.args, _fx_shape):
            source = placeholder_of(index)
            size = _size(table, axis)
            if source in wanted and size:
                limits[source] = min(limits.get(source, size), size)
    return {name: (0, size - 1) for name, size in limits.items()}


def _operator(target: Any) -> str:
    return str(target).removeprefix("aten.").split(".", 1)[0]


def _fx_shape(node: Any) -> tuple[Any, ...] | None:
    shape = getattr(getattr(node, "meta", {}).get("val"), "shape", None)
    return None if shape is None else tuple(shape)


def placeholder_of(node: Any) -> str | None:
    """The placeholder of a program's graph that a node is another form of."""
    while getattr(node, "op", None) == "call_function" and _operator(node.target) in PASSING and node.args:
        node = node.args[0]
    return str(node.name) if getattr(node, "op", None) == "placeholder" else None


def _uses(
    operator: str, args: Any, shape_of: Callable[[Any], tuple[Any, ...] | None]
) -> Iterable[tuple[tuple[Any, ...], Any, int]]:
    """Shape of the table, index and indexed axis of each lookup that a node makes."""
    if operator == "index" and len(args) > 1:
        shape = shape_of(args[0])
        for place, index in enumerate(args[1] if isinstance(args[1], list | tuple) else ()):
            if index is not None and shape is not None:
                yield shape, index, place
        return
    if operator not in _INDEXING:
        return
    table, looked_up, axis = _INDEXING[operator]
    if len(args) > max(table, looked_up) and (shape := shape_of(args[table])) is not None:
        where = args[1] if axis is None else axis
        if isinstance(where, int) and -len(shape) <= where < len(shape):
            yield shape, args[looked_up], where


def _size(shape: tuple[Any, ...], axis: int) -> int:
    size = shape[axis]
    return size if isinstance(size, int) else 0


def script_ranges(script: Any, names: dict[str, str]) -> dict[str, Range]:
    """Inputs of TorchScript -> smallest and largest index into an embedding; `names` gives the input for each
    parameter of `forward`. What can't be followed is left out."""
    import torch

    try:
        graph = torch.jit.freeze(script).graph
        torch._C._jit_pass_inline(graph)
    except RuntimeError:  # a module that can't be frozen has no constants to look at
        return {}
    limits = dict[str, int]()
    for node in graph.findAllNodes("aten::embedding") + graph.findAllNodes("aten::embedding_bag"):
        table, index = list(node.inputs())[:2]
        if table.node().kind() != "prim::Constant" or not table.node().hasAttribute("value"):
            continue
        size = int(table.node().t("value").shape[0])
        source = names.get(_script_source(index))
        if source and size:
            limits[source] = min(limits.get(source, size), size)
    return {name: (0, size - 1) for name, size in limits.items()}


def _script_source(value: Any) -> str:
    while value.node().kind().removeprefix("aten::") in PASSING:
        value = next(iter(value.node().inputs()))
    name: str = value.debugName()
    return name.rsplit(".", 1)[0] if name.rsplit(".", 1)[-1].isdecimal() else name


_BY_NAME: tuple[tuple[str, Range], ...] = ((r"mask", (0, 1)), (r"len(s|gths?)?\b|_len", (1, 3)))


def named_ranges(inputs: Iterable[TensorSpec]) -> dict[str, Range]:
    """Integer inputs that are masks by their name hold 0 and 1; a length is at least 1."""
    return {
        spec.name: span
        for spec in inputs
        if "INT" in spec.datatype
        for pattern, span in _BY_NAME
        if re.search(pattern, spec.name, re.IGNORECASE)
    }
