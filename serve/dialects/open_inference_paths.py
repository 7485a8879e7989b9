"""The paths of Open Inference over HTTP, taken apart into what is called and of which model."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from serve.routing import version_or_label

_LONGEST_KEPT = 256


class Call(NamedTuple):
    """What a path names: `action` is the path without names, as `models/infer`; `model` is empty where it has none."""

    action: str
    model: str = ""
    version: str | None = None
    label: str | None = None


def read_path(path: str) -> Call:
    """What the path calls, which need not be there; one slash at the end changes nothing."""
    return _read_kept(path) if len(path) <= _LONGEST_KEPT else _read(path)


def _read(path: str) -> Call:
    _, _, *parts = path.removesuffix("/").split("/")
    section = parts[0] if parts else ""
    if section == "models" and len(parts) > 1:
        return _model_call(parts[1:])
    if section == "repository":
        return _repository_call(parts[1:])
    return Call("/".join(parts) if section != "models" else "no model")


# The same few paths come again and again, and to read one takes as long as to read the JSON of a small request.
_read_kept = lru_cache(maxsize=4096)(_read)


def _model_call(parts: list[str]) -> Call:
    """`{m}[/versions/{version or label}][/action]`; `stats` alone is of all models."""
    model, *rest = parts
    version = label = None
    if len(rest) > 1 and rest[0] == "versions":
        # An empty one is a version that there is not, and no call of any.
        version, label = version_or_label(rest[1]) if rest[1] else ("", None)
        rest = rest[2:]
    if parts == ["stats"]:
        return Call("models/stats")
    if not model:
        return Call("no model")
    return Call("/".join(("models", *rest)), model, version, label)


def _repository_call(parts: list[str]) -> Call:
    """`[{repo}/]index` or `[{repo}/]models/{m}/action`."""
    if parts[-1:] == ["index"] and len(parts) < 3:
        return Call("repository/index")
    if parts[-3:-2] == ["models"] and len(parts) < 5 and parts[-2]:
        return Call(f"repository/{parts[-1]}", parts[-2])
    return Call("no repository")
