"""The config's `sticky` and `rollout`: who is to get the same version again while several share a model's traffic, and
how a new version gets to all of it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from serve.config_sections.rules import pattern_rule
from serve.config_sections.section import Section

REQUEST_ID = "request_id"
COMPARED_PERCENT = 10.0

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


class RolloutConfig(Section):
    """How a new version gets to all calls: step by step, each judged by what the new version did beside the old one."""

    steps: list[Annotated[int, Field(ge=1, le=100)]] = Field(
        default=[1, 10, 50, 100],
        min_length=1,
        description="Percent of the calls that the new version gets, step after step: rising, the last 100.",
    )
    step_s: float = Field(default=60.0, ge=0, le=86_400, description="Seconds that a step takes at least.")
    min_requests: int = Field(
        default=100, ge=1, description="Calls that the new version must have had in a step before it goes on."
    )
    max_error_rate: float = Field(
        default=0.01,
        gt=0,
        le=1,
        description="By how much the new version's share of failed calls, and of refused ones, may exceed the old "
        "one's; 1 is no bound.",
    )
    max_latency_ratio: float = Field(
        default=1.5,
        gt=0,
        le=1000,
        description="How many times as long as the old version it may take, in the median and at the 95th percentile.",
    )
    max_disagreement: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Share of compared calls that it may answer otherwise; by default answers are not compared.",
    )
    max_hold_s: float = Field(
        default=3600.0,
        gt=0,
        le=604_800,
        description="Seconds after which a step that is still undecided goes back, for lack of calls too.",
    )
    compare_percent: float | None = Field(
        default=None,
        gt=0,
        le=100,
        description="Percent of the old version's calls of which the new one gets copies to compare; by default 10 "
        "where `max_disagreement` is set.",
    )

    @property
    def copied_percent(self) -> float:
        """Percent of the old version's calls that are compared; 0 where none are."""
        return 0.0 if self.max_disagreement is None else self.compare_percent or COMPARED_PERCENT
