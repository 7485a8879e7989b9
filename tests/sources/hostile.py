"""Sources that mean harm, or do it by accident: what they call runs when they are loaded."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path


def calling_skops(path: Path, module: str, name: str, *arguments: str | int) -> Path:
    """A skops file that calls `module.name(*arguments)` when it is loaded."""
    values = [
        {
            "__class__": "str",
            "__module__": "builtins",
            "__loader__": "JsonNode",
            "content": json.dumps(argument),
            "is_json": True,
        }
        for argument in arguments
    ]
    schema = {
        "__class__": name,
        "__module__": module,
        "__loader__": "ConstructorFromReduceNode",
        "content": {"__class__": "tuple", "__module__": "builtins", "__loader__": "TupleNode", "content": values},
        "protocol": 2,
        "_skops_version": "0.16.0",
    }
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("schema.json", json.dumps(schema))
    return path


class _Touching:
    def __init__(self, victim: Path) -> None:
        self._victim = victim

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self._victim), "w")


def writing_pickle(path: Path, victim: Path) -> Path:
    """A pickle that creates `victim` when it is loaded."""
    path.write_bytes(pickle.dumps(_Touching(victim)))
    return path
