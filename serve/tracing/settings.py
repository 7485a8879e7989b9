"""Where traces go and which are kept, as gateways are told: the config, and what OpenTelemetry's own variables add.

Source: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/ and
https://opentelemetry.io/docs/specs/otel/protocol/exporter/. The variables are read where `onegate up` runs, which
processes on other nodes don't inherit from.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

import msgspec

from model_store.errors import ConfigError
from serve.config_sections.tracing import TracingConfig

TRACES_PATH = "/v1/traces"

SERVICE_NAME = "onegate"
SAMPLE = 0.01
"""Where nobody says anything else."""

_NEEDED = "opentelemetry.exporter.otlp.proto.http"

_SHARES = ("traceidratio", "parentbased_traceidratio")


class TracingSettings(msgspec.Struct, frozen=True):
    """`endpoint` is the whole URL that traces are sent to. `slow_ms` is None where the slowest are looked for."""

    endpoint: str
    sample: float
    slow_ms: float | None
    headers: dict[str, str]
    resource: dict[str, str]
    """Attributes of the service, its name among them."""


def tracing_settings(config: TracingConfig, environ: Mapping[str, str] = os.environ) -> TracingSettings | None:
    """What `config` says, and where it is silent, the environment; None where nothing is traced.

    Raises `ConfigError` for what the environment says wrong, and where OpenTelemetry's exporter is not installed.
    """
    endpoint = _endpoint(config, environ)
    if endpoint is None:
        return None
    if not _is_installed():
        raise ConfigError(
            "tracing.endpoint: to send traces OpenTelemetry's exporter is needed; pip install 'onegate[otel]'"
        )
    told = _pairs(environ, "OTEL_EXPORTER_OTLP_HEADERS") | _pairs(environ, "OTEL_EXPORTER_OTLP_TRACES_HEADERS")
    resource = _pairs(environ, "OTEL_RESOURCE_ATTRIBUTES")
    name = config.service_name or environ.get("OTEL_SERVICE_NAME") or resource.get("service.name") or SERVICE_NAME
    return TracingSettings(
        endpoint,
        _sample(environ) if config.sample is None else config.sample,
        config.slow_ms,
        {**told, **{name.lower(): value for name, value in config.headers.items()}},
        resource | {"service.name": name},
    )


def _endpoint(config: TracingConfig, environ: Mapping[str, str]) -> str | None:
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    if config.endpoint is not None:
        has_path = urlsplit(config.endpoint).path.strip("/")
        return config.endpoint if has_path else config.endpoint.rstrip("/") + TRACES_PATH
    if environ.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp":
        return None
    if whole := environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        return whole
    base = environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    return base.rstrip("/") + TRACES_PATH if base else None


def _sample(environ: Mapping[str, str]) -> float:
    sampler = environ.get("OTEL_TRACES_SAMPLER", "")
    if sampler.endswith("always_on"):
        return 1.0
    if sampler.endswith("always_off"):
        return 0.0
    share = environ.get("OTEL_TRACES_SAMPLER_ARG")
    if sampler not in _SHARES or not share:
        return SAMPLE
    try:
        number = float(share)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise ConfigError(f"OTEL_TRACES_SAMPLER_ARG: expected a number from 0 to 1, got {share!r:.40}")
    return number


def _pairs(environ: Mapping[str, str], variable: str) -> dict[str, str]:
    """`key=value` pairs with commas between them, the values percent-encoded."""
    pairs = {}
    for part in environ.get(variable, "").split(","):
        key, found, value = part.partition("=")
        if part.strip() and not (found and key.strip()):
            raise ConfigError(f"{variable}: expected key=value pairs with commas between them, got {part!r:.40}")
        if found:
            pairs[key.strip()] = unquote(value.strip())
    return pairs


def _is_installed() -> bool:
    try:
        return importlib.util.find_spec(_NEEDED) is not None
    except ModuleNotFoundError:
        return False
