"""The config's `serve`: how a model runs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from serve.config_sections.devices import DevicesConfig
from serve.config_sections.scaling import ReplicaNumber
from serve.config_sections.section import Section
from serve.config_sections.upstream import UpstreamConfig


class BatchingConfig(Section):
    """How requests are put together."""

    max_batch_size: int = Field(
        default=64,
        ge=1,
        le=4096,
        description="Most rows in one run of the model; a change makes a new version, for the proof covers this batch.",
    )
    max_delay_ms: float = Field(
        default=0.0,
        ge=0,
        le=60_000,
        description="Milliseconds to wait for more rows; with 0 nothing waits longer than the model is busy.",
    )
    preferred_batch_sizes: list[Annotated[int, Field(ge=1, le=4096)]] = Field(
        default=[],
        description="Sizes that smaller batches are padded to, for runtimes that are faster at some.",
    )
    max_queue: int = Field(
        default=1024,
        ge=1,
        le=1_000_000,
        description="Most rows that wait in one gateway; more are refused as overload.",
    )


class ServeConfig(DevicesConfig):
    """How a model runs."""

    executor: Literal["auto", "inline", "replicas"] = Field(
        default="auto",
        description="inline: in the gateway; replicas: in processes of its own; auto: by measured speed.",
    )
    replicas: ReplicaNumber = Field(
        default=1, description="Processes that run the model: so many, or between bounds as its load asks for."
    )
    batching: BatchingConfig = Field(default=BatchingConfig(), description="How requests are put together.")
    upstream: UpstreamConfig = Field(
        default=UpstreamConfig(), description="How the other server is called whose model the source is."
    )
    deadline_ms: int = Field(
        default=30_000,
        ge=1,
        le=3_600_000,
        description="Milliseconds for a request that sets no deadline itself.",
    )
    cache_mib: int = Field(
        default=0,
        ge=0,
        le=1_048_576,
        description="MiB of answers that each gateway keeps for inputs that come again; 0 keeps none.",
    )
    hedge_ms: float | None = Field(
        default=None,
        gt=0,
        le=3_600_000,
        description="Milliseconds after which a batch that a replica has not answered goes to a second one too.",
    )
    hang_timeout_s: float | None = Field(
        default=None,
        gt=0,
        le=86_400,
        description="Seconds that one batch may run before the runtime counts as hung, and a replica is replaced; by "
        "default twice the deadline and 10 s.",
    )
