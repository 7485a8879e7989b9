"""The shape of nested inputs and outputs, as a program's file describes it, without classes of other libraries.

PyTorch loads a description only where each class in it is registered: the outputs of a model of `transformers` would
need `transformers`. What such a class holds by name is a dict here, and what it holds in order a tuple.
"""

from __future__ import annotations

import json
from typing import Any

KEYS = ("in_spec", "out_spec")
"""Where a program's JSON holds descriptions, as text that is JSON again."""
_OWN = ("builtins.", "torch.", "collections.OrderedDict", "collections.defaultdict", "collections.deque")
_VERSION = 1


def with_plain_specs(program: Any) -> Any:
    """The program's JSON with plain descriptions throughout."""
    if isinstance(program, dict):
        return {
            key: plain_spec(value) if key in KEYS and isinstance(value, str) else with_plain_specs(value)
            for key, value in program.items()
        }
    return [with_plain_specs(each) for each in program] if isinstance(program, list) else program


def plain_spec(text: str) -> str:
    """A description by `torch.utils._pytree.treespec_dumps` with containers of Python and PyTorch alone; text of
    another kind comes back as it is."""
    try:
        version, spec = json.loads(text)
    except (ValueError, TypeError):
        return text
    return json.dumps([version, _plain(spec)]) if version == _VERSION and isinstance(spec, dict) else text


def _plain(spec: dict[str, Any]) -> dict[str, Any]:
    children = [_plain(child) for child in spec.get("children_spec") or ()]
    kind = spec.get("type")
    if kind is None or str(kind).startswith(_OWN):
        return {**spec, "children_spec": children}
    names = _names(spec.get("context"), len(children))
    if names is None:
        return {"type": "builtins.tuple", "context": "null", "children_spec": children}
    return {"type": "builtins.dict", "context": json.dumps(names), "children_spec": children}


def _names(context: Any, count: int) -> list[str] | None:
    """What the children are called: the keys of a mapping, or the fields of a dataclass that are not None."""
    try:
        held = json.loads(context) if isinstance(context, str) else context
    except ValueError:
        return None
    if isinstance(held, list) and held and isinstance(held[0], list):
        held = held[0]
    named = isinstance(held, list) and len(held) == count and all(isinstance(name, str) for name in held)
    return held if named else None
