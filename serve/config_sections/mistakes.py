"""What is wrong with a config, in the words of a person: every mistake, each in one line with its place.

Translates pydantic's findings; which keys exist and what they admit comes from `serve.config_keys`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from model_store.errors import ConfigError
from serve.config_sections.keys import ConfigKey
from serve.config_sections.rules import Rule
from serve.config_sections.scaling import MAPPING, NUMBER
from serve.config_sections.source import ConfigSource, KeyPath, Mistake, shorten
from serve.config_sections.yaml_text import read_scalar

Keys = Mapping[str, ConfigKey]
Finding = tuple[KeyPath, str]
"""Where, and what is wrong there."""

MOST_TOLD = 50
"""Mistakes that are told at once: who is told of a thousand reads none."""

CONTRADICTION = "contradiction"
"""Kind of pydantic error for keys that do not go together."""


def config_error(mistakes: Iterable[Mistake], name: str) -> ConfigError:
    """The one error for all `mistakes`, in the order of the file, of which it tells the first ones.
    `details["mistakes"]` lists the lines of all."""
    ordered = sorted(mistakes, key=lambda mistake: mistake.line or float("inf"))
    lines = list(dict.fromkeys(mistake.text for mistake in ordered))
    if len(lines) == 1:
        return ConfigError(lines[0], mistakes=lines)
    told = [f"{len(lines)} mistakes in {name}:", *lines[:MOST_TOLD]]
    if len(lines) > MOST_TOLD:
        told.append(f"and {len(lines) - MOST_TOLD} more; mend these first")
    return ConfigError("\n".join(told), mistakes=lines)


def translate(error: ValidationError, source: ConfigSource, keys: Keys) -> list[Mistake]:
    """Pydantic's findings as mistakes, without contradictions: those are found on the values as written."""
    details = [detail for detail in error.errors(include_url=False) if detail["type"] != CONTRADICTION]
    return [_translated(detail, source, keys) for detail in details]


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """`; did you mean 'x'?` for the likeliest of `known`, or nothing."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=cutoff)
    return f"; did you mean {near[0]!r}?" if near else ""


def unknown_key(path: str, keys: Keys) -> str:
    """What to write instead of the unknown key at `path`, which is written as in `ConfigKey.path`."""
    section, _, name = path.rpartition(".")
    siblings = [key.name for key in keys.values() if key.section == section]
    homes = [key.section or "the top" for key in keys.values() if key.name == name]
    # A key that exists elsewhere is misplaced rather than misspelt, unless a sibling is very like it.
    if near := nearest(name, siblings, cutoff=0.8 if homes else 0.6):
        return f"unknown key{near}"
    if homes:
        return f"unknown key here; it belongs in {' or '.join(homes)}"
    return f"unknown key; known here: {', '.join(siblings)}" if siblings else f"unknown key{nearest(path, keys)}"


def _translated(detail: ErrorDetails, source: ConfigSource, keys: Keys) -> Mistake:
    path = _written(detail["loc"], source.value, absent=detail["type"] == "missing")
    if detail["type"] == "extra_forbidden":
        return source.mistake(path, unknown_key(_general(path), keys))
    key = _key_at(path, keys)
    rule: Rule | None = detail.get("ctx", {}).get("rule")
    expected = rule.text if rule else _expected(path, key)
    if detail["type"] == "missing":
        return source.mistake(path, f"missing; expected {expected}")
    if detail["type"] == "too_short":
        return source.mistake(path, f"expected at least one {key.item}, got none; leave the key out instead")
    came = _came(detail["input"], source, path)
    hint = f"; {rule.why}" if rule and rule.why else _hint(detail["input"], key, source, path)
    return source.mistake(path, f"expected {expected}, got {came}{hint}")


def _expected(path: KeyPath, key: ConfigKey) -> str:
    """What may stand at `path`, which leads to the key or to a place inside of its list or mapping."""
    _, _, inner = key.item.partition(" of text to ")
    if inner and not _general(path).endswith(key.name):
        return f"a {inner}" if inner == "number" else inner
    return key.expectation(of_item=isinstance(path[-1], int))


def _written(path: KeyPath, value: Any, absent: bool) -> KeyPath:
    """`path` as far as something is written there: not the place in a list that was written as one text, nor which of
    several kinds a value was taken for, nor the tags of forms. The last key of what is `absent` stands nowhere."""
    path = tuple(part for part in path if part not in (NUMBER, MAPPING))
    for depth, part in enumerate(path):
        known = isinstance(value, list) if isinstance(part, int) else isinstance(value, dict) and part in value
        if not known and not absent:
            return path[:depth]
        value = value[part] if known else None
    return path


def _key_at(path: KeyPath, keys: Keys) -> ConfigKey:
    """The key of a list, or of a mapping of names that users choose, stands for each of its places too."""
    general = _general(path)
    found = keys.get(general) or keys.get(f"{general}[]") or keys.get(general.removesuffix("[]"))
    return found or _key_at(path[:-1], keys)


def _general(path: KeyPath) -> str:
    """The path as `ConfigKey.path` has it: list positions become `[]`."""
    return "".join("[]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def _came(value: Any, source: ConfigSource, path: KeyPath) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return source.spelled.get(path) or shorten(value)


def _hint(value: Any, key: ConfigKey, source: ConfigSource, path: KeyPath) -> str:
    """What to do about it, where that can be guessed."""
    if value is None:
        return "; give it a value or leave the key out"
    if key.item == "text" and isinstance(value, bool | int | float):
        return _quoting(value, source.spelled.get(path) or str(value))
    if not isinstance(value, str):
        return ""
    if key.item not in ("text", "mapping") and isinstance(read_scalar(value), bool | int | float):
        return "; write it without quotes"
    return nearest(value, key.choices)


def _quoting(value: bool | int | float, spelled: str) -> str:
    read = "true or false" if isinstance(value, bool) else "a number"
    return f", which YAML reads as {read}; write it in quotes: '{spelled}'"
