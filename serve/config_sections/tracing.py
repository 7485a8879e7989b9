"""The config's `tracing`: where traces of requests go, and of which requests."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from serve.config_sections.rules import Filled, pattern_rule
from serve.config_sections.section import Section

CollectorUrl = Annotated[str, pattern_rule(r"https?://[^\s/]\S*", "a URL as http://127.0.0.1:4318")]


class TracingConfig(Section):
    """Where traces go, and which are kept. Needs the extra `otel`; see docs/tracing.md."""

    endpoint: CollectorUrl | None = Field(
        default=None,
        description="URL of an OpenTelemetry collector that takes OTLP over HTTP, as `http://127.0.0.1:4318`; without "
        "a path `/v1/traces` is added. Without it, and without OpenTelemetry's own variables, nothing is traced.",
    )
    sample: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Share of the requests that are kept whatever becomes of them, where their caller has not decided; "
        "by default 0.01. Those that fail and the slowest are kept besides.",
    )
    slow_ms: float | None = Field(
        default=None,
        gt=0,
        le=86_400_000,
        description="Milliseconds from which on a request counts as slow. Without it the slowest of each model in "
        "every 10 s does.",
    )
    headers: dict[str, str] = Field(
        default={},
        description="Headers for the collector. What is secret belongs in OTEL_EXPORTER_OTLP_HEADERS: the config is "
        "kept in the store.",
    )
    service_name: Filled | None = Field(
        default=None, description="What the collector calls this service; by default `onegate`."
    )
