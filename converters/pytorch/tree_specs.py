"""The shape of nested inputs and outputs, as a program's file describes it, in Python's own containers alone.

PyTorch loads a description only where each class in it is registered: the outputs of a model of `transformers` would
need `transformers`. It also imports whatever module the description of a defaultdict or of an Enum names. So what
holds its items by name is a dict here, and all else a tuple or a list.
"""

from __future__ import annotations

import json
from typing import Any

KEYS = ("in_spec", "out_spec")
"""Where a program's JSON holds descriptions, as text that is JSON again."""
_LEAF: dict[str, Any] = {"type": None, "context": None, "children_spec": []}
_LISTS = ("builtins.list", "collections.deque", "torch.fx.immutable_collections.immutable_list")


def with_plain_specs(program: Any) -> Any:
    """The program's JSON with plain descriptions throughout. Raises `ValueError` for one that is none."""
    if isinstance(program, dict):
        return {
            key: plain_spec(value) if key in KEYS and isinstance(value, str) and value else with_plain_specs(value)
            for key, value in program.items()
        }
    return [with_plain_specs(each) for each in program] if isinstance(program, list) else program


def plain_spec(text: str) -> str:
    """A description by `torch.utils._pytree.treespec_dumps`, protocol 1, with plain containers.

    Raises `ValueError` for another text.
    """
    pair = json.loads(text)
    if not isinstance(pair, list) or len(pair) != 2 or pair[0] != 1 or not isinstance(pair[1], dict):
        raise ValueError(f"{text[:80]!r} does not describe inputs or outputs in a known way")
    return json.dumps([1, _plain(pair[1])])


def _plain(spec: dict[str, Any]) -> dict[str, Any]:
    if spec.get("type") is None:
        return dict(_LEAF)
    children = [_plain(child) for child in spec.get("children_spec") or ()]
    names = _names(spec.get("context"), len(children))
    if spec["type"] in _LISTS:
        return {"type": "builtins.list", "context": "null", "children_spec": children}
    if names is None or spec["type"] == "builtins.tuple":
        return {"type": "builtins.tuple", "context": "null", "children_spec": children}
    return {"type": "builtins.dict", "context": json.dumps(names), "children_spec": children}


def _names(context: Any, count: int) -> list[str | int] | None:
    """What the children are called: the keys of a mapping, or the fields of a dataclass that are not None."""
    try:
        held = json.loads(context) if isinstance(context, str) else context
    except ValueError:
        return None
    if isinstance(held, dict):
        held = held.get("dict_context")  # of a defaultdict
    if isinstance(held, list) and held and isinstance(held[0], list):
        held = held[0]
    if not isinstance(held, list) or len(held) != count:
        return None
    keys = [each.get("name") if isinstance(each, dict) else each for each in held]  # a member of an Enum has a name
    names = [key for key in keys if isinstance(key, str | int)]
    return names if len(names) == count else None
