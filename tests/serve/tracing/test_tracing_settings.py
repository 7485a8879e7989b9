"""Where traces go: the config, and OpenTelemetry's own variables where it is silent."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from model_store.errors import ConfigError
from serve.config_sections.tracing import TracingConfig
from serve.tracing.settings import TracingSettings, tracing_settings


def settings(config: dict[str, Any] | None = None, **environ: str) -> TracingSettings:
    told = tracing_settings(TracingConfig(**config or {}), environ)
    assert told is not None
    return told


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("http://c:4318", "http://c:4318/v1/traces"),
        ("http://c:4318/", "http://c:4318/v1/traces"),
        ("https://c/otlp/traces", "https://c/otlp/traces"),
    ],
)
def test_an_endpoint_without_a_path_gets_the_usual_one(endpoint: str, url: str) -> None:
    assert settings({"endpoint": endpoint}).endpoint == url


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, "http://c:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c/base/"}, "http://c/base/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c/as-is"}, "http://c/as-is"),
    ],
)
def test_the_variables_name_the_endpoint_where_the_config_does_not(environ: dict[str, str], url: str) -> None:
    assert settings(**environ).endpoint == url
    assert settings({"endpoint": "http://mine:1"}, **environ).endpoint == "http://mine:1/v1/traces"


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_where_nobody_asks_for_traces_there_are_none(environ: dict[str, str]) -> None:
    assert tracing_settings(TracingConfig(), environ) is None


@pytest.mark.parametrize(
    ("environ", "sample"),
    [
        ({}, 0.01),
        ({"OTEL_TRACES_SAMPLER": "always_on"}, 1.0),
        ({"OTEL_TRACES_SAMPLER": "parentbased_always_off"}, 0.0),
        ({"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.25"}, 0.25),
        ({"OTEL_TRACES_SAMPLER": "traceidratio"}, 0.01),
    ],
)
def test_the_share_comes_from_the_config_or_the_sampler(environ: dict[str, str], sample: float) -> None:
    assert settings({"endpoint": "http://c"}, **environ).sample == sample
    assert settings({"endpoint": "http://c", "sample": 0.5}, **environ).sample == 0.5


def test_headers_and_attributes_of_both_are_put_together() -> None:
    told = settings(
        {"endpoint": "http://c", "headers": {"X-Team": "ml"}},
        OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20key, x-team=other",
        OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=test,service.name=shop",
    )
    assert told.headers == {"authorization": "Bearer key", "x-team": "ml"}
    assert told.resource == {"deployment.environment.name": "test", "service.name": "shop"}


@pytest.mark.parametrize(
    ("config", "environ", "name"),
    [
        ({}, {}, "onegate"),
        ({}, {"OTEL_SERVICE_NAME": "shop"}, "shop"),
        ({"service_name": "mine"}, {"OTEL_SERVICE_NAME": "shop"}, "mine"),
    ],
)
def test_the_service_has_the_name_that_it_is_given(config: dict[str, str], environ: dict[str, str], name: str) -> None:
    assert settings({"endpoint": "http://c"} | config, **environ).resource["service.name"] == name


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        (
            {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "half"},
            "OTEL_TRACES_SAMPLER_ARG: expected a number from 0 to 1, got 'half'",
        ),
        ({"OTEL_EXPORTER_OTLP_HEADERS": "key"}, "OTEL_EXPORTER_OTLP_HEADERS: expected key=value pairs"),
    ],
)
def test_what_a_variable_says_wrong_is_told(environ: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        settings({"endpoint": "http://c"}, **environ)


def test_without_the_extra_the_config_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http", None)
    with pytest.raises(ConfigError, match=r"tracing.endpoint: .* pip install 'onegate\[otel\]'"):
        settings({"endpoint": "http://c"})
