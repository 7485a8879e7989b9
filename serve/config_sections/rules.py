"""What the single values of a config may be: names, hosts, ports, sizes.

A rule is checked, told in messages and printed in the reference from one text.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeGuard

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from converters.base import CONVERTERS
from model_store.manifest import DATATYPES


@dataclass(frozen=True)
class Rule:
    """Annotates a field with a rule that is checked, told in messages and printed in the reference."""

    text: str
    """What is admitted, in words that go on from 'expected'."""
    admits: Callable[[Any], bool]
    why: str = ""
    """Added to the message of a refusal."""
    schema: dict[str, Any] = field(default_factory=dict, hash=False)
    """Keywords of JSON Schema that say the same, as far as they can."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return handler(schema) | self.schema

    def _checked(self, value: Any) -> Any:
        if not self.admits(value):
            raise PydanticCustomError("rule", "expected {text}", {"rule": self, "text": self.text})
        return value


class OneOrMore:
    """Annotates a list of texts: one alone may be written as a text, and is told as one."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        told = core_schema.plain_serializer_function_ser_schema(lambda texts: texts[0] if len(texts) == 1 else texts)
        return core_schema.no_info_before_validator_function(_listed, handler(source), serialization=told)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        several = handler(schema)
        return {"anyOf": [several["items"], several]}


def is_number(value: Any) -> TypeGuard[int | float]:
    """Whether it is a number as YAML has them; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def pattern_rule(pattern: str, text: str) -> Rule:
    """The rule that the whole text matches `pattern`, which JSON Schema must understand too."""
    whole = re.compile(pattern)
    return Rule(text, lambda value: whole.fullmatch(value) is not None, schema={"pattern": f"^{pattern}$"})


RESERVED_NAMES = frozenset(
    (
        *("v1", "v2", "models", "ping", "predictions", "explanations", "invocations", "predict", "metrics", "health"),
        *("api", "api-description", "openapi.json"),
    )
)
"""The endpoint's own first path segments; no model can have their names."""

_HOST_PATTERN = r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?"


def _is_host(text: str) -> bool:
    return re.fullmatch(_HOST_PATTERN, text) is not None or _address(text) is not None


def is_loopback(text: str) -> bool:
    """Whether only programs of this machine reach what listens at the address or name."""
    address = _address(text)
    return text == "localhost" or (address is not None and address.is_loopback)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


ModelName = Annotated[
    str,
    pattern_rule(
        r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}",  # the same as the store's, a test holds it
        "letters, digits, '.', '_' and '-' after a first letter or digit, 200 at most",
    ),
    Rule(
        f"none of the endpoint's own words {', '.join(sorted(RESERVED_NAMES))}",
        lambda name: name not in RESERVED_NAMES,
        schema={"not": {"enum": sorted(RESERVED_NAMES)}},
    ),
]
# A label that is no number can't be taken for a version where a client may send either.
Label = Annotated[
    str, pattern_rule(r"[A-Za-z][A-Za-z0-9._-]*", "letters, digits, '.', '_' and '-' after a first letter")
]
Labels = Annotated[list[Label], Field(min_length=1), OneOrMore()]
ALIAS_PATTERN = r"[0-9][A-Za-z0-9._-]*"
Alias = Annotated[
    str,
    pattern_rule(ALIAS_PATTERN, "text in quotes: letters, digits, '.', '_' and '-' after a first digit"),
]
Filled = Annotated[str, Rule("text that is not blank", lambda text: bool(text.strip()), schema={"pattern": r"\S"})]
Host = Annotated[str, Rule("an address or host name without scheme and port", _is_host)]
SCOPE_PATTERN = r"infer|view|manage|metrics|infer:(\*|[A-Za-z0-9][A-Za-z0-9._-]*\*?)"
SCOPE_TEXT = "infer, infer:MODEL, infer:PREFIX*, view, manage or metrics"
Scope = Annotated[str, pattern_rule(f"({SCOPE_PATTERN})", SCOPE_TEXT)]
Origin = Annotated[
    str,
    pattern_rule(
        r"\*|[a-z][a-z0-9+.-]*://[A-Za-z0-9.\[\]:_-]+",
        "an origin as browsers name it, scheme and host and a port that is not the usual one, or *",
    ),
]
Port = Annotated[int, Field(ge=1, le=65535)]
Dimension = Annotated[
    int,
    Rule(
        "-1 or a whole number above 0",
        lambda size: size == -1 or size > 0,
        schema={"minimum": -1, "not": {"const": 0}},
    ),
]
if TYPE_CHECKING:
    Datatype = str
    Framework = str
else:
    Datatype = Literal[DATATYPES]
    Framework = Literal[tuple(CONVERTERS)]
