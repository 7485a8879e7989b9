"""The config's `sticky`: who is to get the same version again while several share a model's traffic."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from serve.config_rules import pattern_rule
from serve.config_section import Section

REQUEST_ID = "request_id"

HeaderName = Annotated[
    str,
    pattern_rule(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}", "the name of an HTTP header, 100 characters at most"),
]


class StickyConfig(Section):
    """By what callers are told apart. `sticky: request_id` is short for `sticky: {request_id: true}`."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["header"]}, {"required": [REQUEST_ID]}]})

    header: HeaderName | None = Field(
        default=None,
        description="Name of a header, as 'x-user', in upper or lower case; over gRPC, of the call's metadata. "
        "Excludes `request_id`.",
    )
    request_id: bool | None = Field(
        default=None, description="Whether it is the id that requests carry; `sticky: request_id` is short for it."
    )


class _OrRequestId:
    """Annotates the section: the word alone may stand in its place."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(_spelled_out, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [handler(schema), {"const": REQUEST_ID}]}


def _spelled_out(value: Any) -> Any:
    return {REQUEST_ID: True} if value == REQUEST_ID else value


Sticky = Annotated[StickyConfig, _OrRequestId()]
