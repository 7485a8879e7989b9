"""The config's `logging`: what log lines look like, and whether each request gets one."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from serve.config_sections.rules import Filled
from serve.config_sections.section import Section


class LoggingConfig(Section):
    """Log lines of all processes; see docs/logs.md."""

    PATHS = ("access_file",)

    format: Literal["text", "json"] = Field(
        default="text", description="How lines are written: text for people, or an object of JSON each."
    )
    level: Literal["debug", "info", "warning", "error"] = Field(
        default="warning", description="What is written: lines of this level and of those above it."
    )
    access: bool = Field(default=False, description="Whether each request to the endpoint gets a line.")
    access_file: Filled | None = Field(
        default=None,
        description="File, on the gateway's node, for the lines of requests; without it they stand among the others.",
    )
