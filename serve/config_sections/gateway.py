"""The config's `gateway`: where the endpoint listens and what it admits."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from serve.config_sections.rules import Filled, Host, Origin, Port
from serve.config_sections.section import Section
from serve.config_sections.tls import TlsConfig


class GatewayConfig(Section):
    """Where the endpoint listens and what it admits."""

    PATHS = ("model_folder",)

    host: Host = Field(default="127.0.0.1", description="Address on which the HTTP and gRPC ports listen.")
    http_port: Port = Field(default=8080, description="Port of every HTTP protocol.")
    grpc_port: Port = Field(default=8081, description="Port of every gRPC protocol.")
    management_host: Host = Field(default="127.0.0.1", description="Address on which the management port listens.")
    management_port: Port = Field(default=8082, description="Port of management calls and metrics.")
    tls: TlsConfig | None = Field(
        default=None, description="TLS of the HTTP and gRPC ports; without it they have none."
    )
    management_tls: TlsConfig | None = Field(
        default=None, description="TLS of the management port; without it it has none."
    )
    cors_origins: list[Origin] = Field(
        default=[],
        description="Origins, as `https://shop.example`, whose pages may call the HTTP port from a browser; `*` is "
        "every page.",
    )
    replicas: int = Field(default=1, ge=1, le=64, description="Gateway processes that share the ports.")
    every_node: bool = Field(
        default=False,
        description="Whether so many run on each node of a joined Ray cluster, on those too that join it later; else "
        "all run on the node where `onegate up` does.",
    )
    max_body_bytes: int = Field(
        default=64 * 1024 * 1024,
        ge=1024,
        le=2**31 - 1,
        description="Largest request body in bytes (64 MiB); larger ones are refused.",
    )
    max_requests: int = Field(
        default=4096,
        ge=1,
        le=1_000_000,
        description="Requests under way in one gateway; more are refused as overload.",
    )
    max_connections: int = Field(
        default=4096,
        ge=1,
        le=1_000_000,
        description="Open connections of one gateway, HTTP and gRPC each; more wait to be accepted.",
    )
    body_timeout_s: float = Field(
        default=60.0, gt=0, le=3600, description="Seconds in which a request's headers, and then its body, must arrive."
    )
    model_memory_mib: int = Field(
        default=0,
        ge=0,
        le=1_048_576,
        description="MiB that the models loaded in one gateway may take, about; beyond them the least recently used "
        "are unloaded and come back with their next request. 0 is no limit.",
    )
    management_on_endpoint: bool = Field(
        default=False,
        description="Whether calls that load, unload and scale models answer on the HTTP and gRPC ports too.",
    )
    model_folder: Filled | None = Field(
        default=None,
        description="Folder in which management calls find the relative names that they register models from, as "
        "`url=model.mar`; without one such names are refused.",
    )
    model_server: Literal["torchserve", "mms"] = Field(
        default="torchserve",
        description="Whose answers `/ping` and `/models` give where TorchServe and MXNet Model Server differ; mms is "
        "also for SageMaker's multi-model endpoints.",
    )
    drain_timeout_s: float = Field(
        default=30.0,
        ge=0,
        le=3600,
        description="Seconds that running requests get to finish when the gateway stops.",
    )

    @property
    def http_url(self) -> str:
        """The HTTP port's address."""
        return port_url(self.tls, self.host, self.http_port)

    @property
    def management_url(self) -> str:
        """The management port's address."""
        return port_url(self.management_tls, self.management_host, self.management_port)


def port_url(tls: TlsConfig | None, host: str, port: int) -> str:
    """The address of an HTTP port at `host`."""
    name = f"[{host}]" if ":" in host else host
    return f"{'http' if tls is None else 'https'}://{name}:{port}"
