"""`versions: all` and `versions: {latest: N}`: a model that takes what the store has, beside the list of versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from serve.config_sections.rules import Rule

ALL = "all"
LATEST = "latest"


@dataclass(frozen=True)
class StoreVersions:
    """Versions of the store: the newest `latest` of them, or all. The newest gets the traffic."""

    latest: int | None = None

    def document(self) -> str | dict[str, int]:
        """As the config has it."""
        return ALL if self.latest is None else {LATEST: self.latest}

    def of(self, stored: list[int]) -> list[int]:
        """Which of the numbers in the store, which ascend."""
        return stored if self.latest is None else stored[-self.latest :]


_RULE = Rule(
    f"a list of mappings, `{ALL}` or `{{{LATEST}: N}}` with a whole number from 1 on",
    lambda value: value == ALL or _is_latest(value),
)


def _is_latest(value: Any) -> bool:
    number = value.get(LATEST) if isinstance(value, Mapping) and len(value) == 1 else None
    return type(number) is int and number >= 1


class OrOfTheStore:
    """Annotates a list of versions in whose place a `StoreVersions` may stand."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        told = core_schema.wrap_serializer_function_ser_schema(_told)
        return core_schema.no_info_wrap_validator_function(_read, handler(source), serialization=told)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        latest = {
            "type": "object",
            "properties": {LATEST: {"type": "integer", "minimum": 1}},
            "required": [LATEST],
            "additionalProperties": False,
        }
        return {"anyOf": [handler(schema), {"const": ALL}, latest]}


def _read(value: Any, handler: core_schema.ValidatorFunctionWrapHandler) -> Any:
    if isinstance(value, StoreVersions):
        return value
    if not isinstance(value, str | Mapping):
        return handler(value)
    if not _RULE.admits(value):
        raise PydanticCustomError("rule", "expected {text}", {"rule": _RULE, "text": _RULE.text})
    return StoreVersions(None if isinstance(value, str) else value[LATEST])


def _told(value: Any, handler: core_schema.SerializerFunctionWrapHandler) -> Any:
    return value.document() if isinstance(value, StoreVersions) else handler(value)
