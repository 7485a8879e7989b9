"""Public names of what a model gives out: the leaves of its nested outputs.

The keys of a dict, or the fields of a dataclass (of nested ones joined by '_'), `output_0..` for a tuple or list,
`output` for a single tensor.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any


def leaf_names(spec: Any) -> list[str]:
    """Names of the leaves of a `TreeSpec` (torch.utils._pytree), in order; numbered when two would be the same."""
    return _distinct([name or "output" for name in _spec_names(spec, "")])


def apart(outputs: Iterable[str], inputs: Iterable[str]) -> list[str]:
    """Names of outputs, with `_out` behind those that are names of inputs too: in ONNX a name is one value."""
    taken = set(inputs)
    return [f"{name}_out" if name in taken else name for name in outputs]


def _distinct(names: list[str]) -> list[str]:
    return names if len(set(names)) == len(names) else [f"output_{index}" for index in range(len(names))]


def _spec_names(spec: Any, prefix: str) -> list[str]:
    if spec.is_leaf():
        return [prefix]
    children = spec.children()
    keys = _keys(spec)
    if keys is None or len(keys) != len(children):
        keys, prefix = range(len(children)), prefix or "output"
    return [leaf for key, child in zip(keys, children, strict=True) for leaf in _spec_names(child, _join(prefix, key))]


def _keys(spec: Any) -> Sequence[Any] | None:
    """What the children of a node are called, where they are: keys of a dict, fields of a dataclass or namedtuple."""
    kind, context = spec.type, spec.context
    if fields := getattr(context, "_fields", None):  # PyTorch's kind for all named tuples is a function
        return tuple(fields)
    if not isinstance(kind, type):
        return None
    if issubclass(kind, Mapping) and isinstance(context, list | tuple):
        return context
    if dataclasses.is_dataclass(kind):
        # torch.export.register_dataclass keeps the fields that were set, then those that were None.
        present = context[0] if isinstance(context, list | tuple) and context else None
        return present if isinstance(present, list | tuple) else [field.name for field in dataclasses.fields(kind)]
    return None


def _join(prefix: str, key: Any) -> str:
    return f"{prefix}_{key}" if prefix else str(key)


def named_leaves(value: Any) -> dict[str, Any]:
    """Tensors and numbers of a model's answer under their public names; None and text are left out."""
    leaves = [(name or "output", leaf) for name, leaf in _value_leaves(value, "")]
    names = _distinct([name for name, _ in leaves])
    return {name: leaf for name, (_, leaf) in zip(names, leaves, strict=True) if is_numeric(leaf)}


def is_numeric(leaf: Any) -> bool:
    """Whether a leaf is a tensor or a number."""
    return hasattr(leaf, "dtype") or isinstance(leaf, bool | int | float) or type(leaf).__name__.startswith("Sym")


def _value_leaves(value: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    items: list[tuple[Any, Any]]
    if isinstance(value, Mapping):
        items = list(value.items())
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        items = [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        items = list(zip(value._fields, value, strict=True))
    elif isinstance(value, list | tuple):
        items, prefix = list(enumerate(value)), prefix or "output"
    else:
        yield prefix, value
        return
    for key, item in items:
        yield from _value_leaves(item, _join(prefix, key))
