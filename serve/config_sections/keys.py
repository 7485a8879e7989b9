"""What keys a config has, read off its pydantic model: one `ConfigKey` a key.

The reference page, the messages and the names of the environment variables all come from this list.
Knows no key itself; `serve.config` holds the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic.fields import FieldInfo

from serve.config_sections.rules import OneOrMore, Rule
from serve.config_sections.section import Section

REQUIRED = "required"
ENVIRONMENT_PREFIX = "ONEGATE_"


@dataclass(frozen=True)
class ConfigKey:
    """A key of the config. `path` writes `[]` where a list's position stands: `models[].serve.cpus`."""

    path: str
    item: str
    """The value, or each value of the list: `text`, `whole number`, `number`, `true or false`, `mapping of
    text to text` (or to numbers), `mapping` for a section, or `whole number or mapping` for one that a number may stand
    for."""
    is_list: bool
    """Whether a list stands there, or may: `is_single` is for one that may be written without its brackets."""
    default: Any
    """The string `required` where there is none."""
    bounds: str
    """Smallest and largest, the choices or the rule; empty where everything of the kind goes."""
    description: str
    choices: tuple[str, ...] = ()
    limits: str = ""
    """Smallest and largest alone: `from 1 to 256`."""
    environment: str | None = None
    """Name of the environment variable that sets the key."""
    is_single: bool = False
    is_path: bool = False

    @property
    def section(self) -> str:
        """Path of the mapping that the key stands in; empty at the top."""
        return self.path.rpartition(".")[0]

    @property
    def name(self) -> str:
        """The key's own last part, without `[]`."""
        return self.path.rpartition(".")[2].removesuffix("[]")

    @property
    def kind(self) -> str:
        """The value in words: `whole number`, `list of mappings`, `text or list of texts`."""
        several = f"list of {self.item}s" if self.is_list else self.item
        return f"{self.item} or {several}" if self.is_single else several

    @property
    def is_section(self) -> bool:
        """Whether other keys stand under it."""
        return self.item.endswith("mapping")

    def expectation(self, of_item: bool) -> str:
        """What may stand there, in words that go on from 'expected'; `of_item`: in one place of the list."""
        if self.is_list and not of_item:
            return f"a list of {self.item}s" if not self.is_single else f"{self.item} or a list of {self.item}s"
        if self.item == "mapping":
            return "a mapping"
        if self.choices:
            return self.bounds
        article = "" if self.item in ("text", "true or false") else "a "
        mapping = " or a mapping" if self.is_section else ""
        return f"{article}{self.item.removesuffix(' or mapping')} {self.limits}".rstrip() + mapping


@cache
def keys_of(model: type[Section]) -> dict[str, ConfigKey]:
    """All keys of `model` by path, each section before its keys."""
    return {key.path: key for key in _walk(model, "")}


@dataclass(frozen=True)
class _Shape:
    """A field's annotation taken apart."""

    inner: Any
    lists: int
    metadata: tuple[Any, ...]
    stands_for: type[Section] | None = None
    """What may be written instead, where that is a mapping."""


def _walk(model: type[Section], prefix: str) -> Iterator[ConfigKey]:
    for name, info in model.model_fields.items():
        shape = _take_apart(info.annotation, tuple(info.metadata))
        section = shape.inner if _is_section(shape.inner) else shape.stands_for
        path = f"{prefix}{name}" + "[]" * shape.lists * (section is not None)
        yield _key(path, info, shape, section is not None, name in model.PATHS)
        if section is not None:
            yield from _walk(section, f"{path}.")


def _is_section(inner: Any) -> bool:
    return isinstance(inner, type) and issubclass(inner, Section)


def _take_apart(annotation: Any, metadata: tuple[Any, ...], lists: int = 0) -> _Shape:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _take_apart(arguments[0], (*metadata, *arguments[1:]), lists)
    if origin in (Union, UnionType):
        shapes = [_take_apart(argument, metadata, lists) for argument in arguments if argument is not NoneType]
        if len(shapes) == 1:
            return shapes[0]
        value, section = sorted(shapes, key=lambda shape: _is_section(shape.inner))
        return replace(value, stands_for=section.inner)
    if origin is list:
        return _take_apart(arguments[0], metadata, lists + 1)
    return _Shape(annotation, lists, metadata)


_ITEMS = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    dict[str, str]: "mapping of text to text",
    dict[str, float]: "mapping of text to number",
    dict[str, str | int | float | bool]: "mapping of text to text, number, true or false",
}


def _key(path: str, info: FieldInfo, shape: _Shape, section: bool, is_path: bool) -> ConfigKey:
    choices = get_args(shape.inner) if get_origin(shape.inner) is Literal else ()
    limits = _limits(shape.metadata)
    rules = "; ".join(item.text for item in shape.metadata if isinstance(item, Rule))
    return ConfigKey(
        path=path,
        item=_item(shape, choices),
        is_list=shape.lists > 0,
        default=REQUIRED if info.is_required() else info.get_default(call_default_factory=True),
        bounds=one_of(choices) if choices else rules or limits,
        description=info.description or "",
        choices=choices,
        limits=limits,
        environment=None if section or shape.lists or "[]" in path else environment_name(path),
        is_path=is_path,
        is_single=any(isinstance(item, OneOrMore) for item in shape.metadata),
    )


def _item(shape: _Shape, choices: tuple[str, ...]) -> str:
    if _is_section(shape.inner):
        return "mapping"
    item = "text" if choices else _ITEMS[shape.inner]
    return item if shape.stands_for is None else f"{item} or mapping"


def environment_name(path: str) -> str:
    """The variable that sets the key at `path`: `gateway.http_port` -> `ONEGATE_GATEWAY_HTTP_PORT`."""
    return ENVIRONMENT_PREFIX + path.replace(".", "_").upper()


def _limits(metadata: tuple[Any, ...]) -> str:
    low = next((item.ge for item in metadata if isinstance(item, annotated_types.Ge)), None)
    above = next((item.gt for item in metadata if isinstance(item, annotated_types.Gt)), None)
    high = next((item.le for item in metadata if isinstance(item, annotated_types.Le)), None)
    if any(isinstance(item, annotated_types.MinLen) for item in metadata):
        return "at least one"
    if above is not None:
        return f"above {above} and at most {high}"
    return f"from {low} to {high}" if low is not None else ""


def one_of(choices: tuple[str, ...]) -> str:
    """`auto, inline or replicas`."""
    return " or ".join(part for part in (", ".join(choices[:-1]), choices[-1]) if part)
