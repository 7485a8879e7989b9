"""How a version is run: what the config asks, decided by the profile that was measured when it was published."""

from __future__ import annotations

from model_store.manifest import HandlerSpec, Manifest
from serve.config_sections.devices import DevicesConfig
from serve.config_sections.scaling import ScalingConfig
from serve.config_sections.serve import BatchingConfig, ServeConfig
from serve.devices import DeviceOptions, Provider
from serve.routing import Batching, Scaling, ServeOptions, UpstreamOptions
from serve.upstreams import UPSTREAM

TARGET_BATCHES = 2
"""Batches that each replica is to have where the config does not say how many rows: one that runs, one that waits."""

INLINE_LIMIT_MS = 5.0
"""`executor: auto` keeps a model inline when a batch of one takes less than this on one CPU."""


def serve_options(serve: ServeConfig, manifest: Manifest) -> ServeOptions:
    """How the version is run; `executor: auto` is decided by the profile that was measured when it was published."""
    devices = _devices(serve)
    if manifest.runtime == UPSTREAM:
        executor = UPSTREAM
    elif (executor := serve.executor) == "auto":
        profile = manifest.profile
        # A framework's own runtime stays out of the gateway: it takes threads and memory of its own, and may crash.
        light = manifest.runtime == "onnx" and profile is not None and profile.batch_one_ms < INLINE_LIMIT_MS
        executor = "inline" if light and not _needs_a_place(devices) else "replicas"
    batching, scaling = _batching(serve.batching, manifest.handler), None
    if executor == "replicas" and isinstance(serve.replicas, ScalingConfig):
        scaling = _scaling(serve.replicas, batching.max_batch_size if manifest.row_independent else 1)
    return ServeOptions(
        executor=executor,
        cpus=serve.cpus,
        replicas=_first_replicas(serve.replicas) if executor == "replicas" else 1,
        batching=batching,
        deadline_ms=serve.deadline_ms,
        cache_mib=serve.cache_mib,
        hedge_ms=serve.hedge_ms,
        hang_timeout_s=serve.hang_timeout_s,
        upstream=upstream_options(serve) if executor == UPSTREAM else None,
        scaling=scaling,
        threads=serve.threads,
        devices=devices,
    )


def upstream_options(serve: ServeConfig) -> UpstreamOptions:
    """How an upstream is called, as the gateways are told."""
    return UpstreamOptions(**serve.upstream.model_dump())


def _first_replicas(asked: int | ScalingConfig) -> int:
    """How many there are at first: one even where none may be kept, so that a version that can't be loaded is seen."""
    return max(asked.min, 1) if isinstance(asked, ScalingConfig) else asked


def _scaling(asked: ScalingConfig, rows_at_once: int) -> Scaling:
    target_rows = asked.target_queue or TARGET_BATCHES * rows_at_once
    return Scaling(asked.min, asked.max, target_rows, asked.up_delay_s, asked.down_delay_s)


def _devices(serve: DevicesConfig) -> DeviceOptions:
    return DeviceOptions(
        device=serve.device,
        gpus=serve.gpus if serve.gpus is not None else 1 if serve.device == "cuda" else 0,
        providers=tuple(Provider(each.name, each.options) for each in serve.providers or ()),
        gpu_memory_mib=serve.gpu_memory_mib,
        resources=serve.resources,
        accelerator_type=serve.accelerator_type,
    )


def _needs_a_place(devices: DeviceOptions) -> bool:
    """Gateways have no GPU, and run where Ray puts them."""
    return bool(devices.gpus or devices.resources or devices.accelerator_type)


def _batching(asked: BatchingConfig, handler: HandlerSpec | None) -> Batching:
    """A handler is written for batches of the size that its archive names, and its archive says how long to wait."""
    size, delay_ms = asked.max_batch_size, asked.max_delay_ms
    if handler is not None:
        size, delay_ms = min(size, handler.batch_size), delay_ms or handler.max_batch_delay_ms
    return Batching(size, delay_ms, asked.max_queue, tuple(sorted(asked.preferred_batch_sizes)))
