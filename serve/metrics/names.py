"""Every metric of `GET /metrics`: the one table of names, labels and what they mean. `docs/metrics.md` lists it.

The names that begin with `nv_` are Triton's, with the same numbers, for dashboards and rules that know them
(https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/user_guide/metrics.html).
"""

from __future__ import annotations

from typing import Literal

import msgspec

Kind = Literal["counter", "gauge", "histogram"]


class Family(msgspec.Struct, frozen=True):
    """A metric. `label_names` are in the order in which values are given for them."""

    name: str
    kind: Kind
    label_names: tuple[str, ...]
    help: str


_VERSION = ("model", "version")
_DIALECT = (*_VERSION, "dialect")
_REPLICA = (*_VERSION, "replica", "node")

REQUESTS = Family(
    "onegate_requests_total", "counter", _DIALECT,
    "Requests for which a version was found and that ended, failed ones too, but for cancelled ones.",
)  # fmt: skip
ERRORS = Family(
    "onegate_request_errors_total", "counter", (*_DIALECT, "kind"),
    "Requests that failed, by kind of error. Where no version was found, version is empty, and model too unless it is "
    "one of the config.",
)  # fmt: skip
CANCELLED = Family(
    "onegate_requests_cancelled_total", "counter", _DIALECT,
    "Requests whose clients left before the answer.",
)  # fmt: skip
REQUEST_DURATION = Family(
    "onegate_request_duration_seconds", "histogram", _DIALECT,
    "From a request's last byte until its answer, or refusal, was ready to be sent, of onegate_requests_total.",
)  # fmt: skip
QUEUE_DURATION = Family(
    "onegate_queue_duration_seconds", "histogram", _VERSION,
    "What requests waited until a batch took their first rows.",
)  # fmt: skip
ROWS = Family("onegate_rows_total", "counter", _VERSION, "Rows that batches computed.")
BATCH_DURATION = Family(
    "onegate_batch_duration_seconds", "histogram", _VERSION,
    "What batches took, the way to a replica and back included. Its count is the number of batches.",
)  # fmt: skip
BATCH_ROWS = Family("onegate_batch_rows", "histogram", _VERSION, "Rows of batches.")
BATCH_FILL = Family("onegate_batch_fill_ratio", "histogram", _VERSION, "Rows of batches, as a share of max_batch_size.")
CACHE_HITS = Family("onegate_cache_hits_total", "counter", _VERSION, "Requests that the response cache answered.")
CACHE_MISSES = Family(
    "onegate_cache_misses_total", "counter", _VERSION, "Requests that were not in the response cache."
)
IN_FLIGHT = Family("onegate_requests_in_flight", "gauge", _VERSION, "Requests that have not ended.")
QUEUE_ROWS = Family("onegate_queue_rows", "gauge", _VERSION, "Rows that no batch has taken yet.")
VERSION_INFO = Family(
    "onegate_version_info", "gauge", (*_VERSION, "state", "executor", "runtime", "device"),
    "Always 1: a version that there is, as `onegate status` has it.",
)  # fmt: skip
TRAFFIC = Family(
    "onegate_traffic_percent", "gauge", _VERSION, "Share of the calls that name no version which this one gets."
)
REPLICAS = Family(
    "onegate_replicas", "gauge", (*_VERSION, "state"), "Replicas of a version that are ready, and that are wanted."
)
REPLICA_BUSY = Family(
    "onegate_replica_busy_ratio", "gauge", _REPLICA,
    "Share of the last heartbeat's time in which the replica ran a batch.",
)  # fmt: skip
REPLICA_MEMORY = Family("onegate_replica_memory_bytes", "gauge", _REPLICA, "Resident memory of the replica's process.")
GPU_USED = Family(
    "onegate_gpu_memory_used_bytes", "gauge", ("node", "gpu"), "Memory of a GPU in use, by anybody, where replicas are."
)
GPU_TOTAL = Family("onegate_gpu_memory_total_bytes", "gauge", ("node", "gpu"), "Memory of that GPU.")
GPU_UTILISATION = Family(
    "onegate_gpu_utilisation_ratio", "gauge", ("node", "gpu"),
    "Share of the time in which that GPU computed something, as NVML samples it.",
)  # fmt: skip
GATEWAYS = Family("onegate_gateways", "gauge", (), "Gateways whose heartbeats arrive.")
GATEWAY_MEMORY = Family(
    "onegate_gateway_memory_bytes", "gauge", ("gateway", "node"), "Resident memory of the gateway's process."
)
GENERATION = Family("onegate_generation", "gauge", (), "Number of the generation that is desired now.")
ROLLOUT_PERCENT = Family(
    "onegate_rollout_percent", "gauge", ("model", "stable", "canary"),
    "Share of the calls that the canary of a rollout under way gets.",
)  # fmt: skip
DISAGREEMENT = Family(
    "onegate_rollout_disagreement_ratio", "gauge", ("model", "stable", "other"),
    "Share of the compared copies that a shadow or canary did not answer as the stable version.",
)  # fmt: skip
ROLLOUTS_ENDED = Family(
    "onegate_rollouts_ended_total", "counter", ("model", "outcome"),
    "Rollouts of models with `rollout`, since the controller started: finished, rolled_back by the guard, or stopped "
    "for something else.",
)  # fmt: skip
CONVERSIONS = Family(
    "onegate_conversions_total", "counter", ("framework", "outcome"),
    "Conversions since the controller started: onnx, native or handler say what the version is, found that there was "
    "one already, failed that there is none.",
)  # fmt: skip
CONVERSION_DURATION = Family(
    "onegate_conversion_duration_seconds", "histogram", ("framework",), "What conversions took, failed ones too."
)
STORE_OPERATIONS = Family(
    "onegate_store_operations_total", "counter", ("operation", "outcome"),
    "What the controller asked of the store since it started; outcome is ok or a kind of error.",
)  # fmt: skip

NV_SUCCESS = Family("nv_inference_request_success", "counter", _VERSION, "Triton's: requests that were answered.")
NV_FAILURE = Family("nv_inference_request_failure", "counter", _VERSION, "Triton's: requests that failed.")
NV_COUNT = Family("nv_inference_count", "counter", _VERSION, "Triton's: as onegate_rows_total.")
NV_EXEC_COUNT = Family("nv_inference_exec_count", "counter", _VERSION, "Triton's: batches.")
NV_REQUEST_US = Family(
    "nv_inference_request_duration_us", "counter", _VERSION, "Triton's: what all requests took, in microseconds."
)
NV_QUEUE_US = Family(
    "nv_inference_queue_duration_us", "counter", _VERSION, "Triton's: what all requests waited, in microseconds."
)
NV_COMPUTE_US = Family(
    "nv_inference_compute_infer_duration_us", "counter", _VERSION, "Triton's: what all batches took, in microseconds."
)
NV_PENDING = Family("nv_inference_pending_request_count", "gauge", _VERSION, "Triton's: as onegate_requests_in_flight.")
NV_CACHE_HITS = Family("nv_cache_num_hits_per_model", "counter", _VERSION, "Triton's: as onegate_cache_hits_total.")
NV_CACHE_MISSES = Family(
    "nv_cache_num_misses_per_model", "counter", _VERSION, "Triton's: as onegate_cache_misses_total."
)
NV_CACHE_HIT_US = Family(
    "nv_cache_hit_duration_per_model", "counter", _VERSION, "Triton's: what look-ups took that hit, in microseconds."
)
NV_CACHE_MISS_US = Family(
    "nv_cache_miss_duration_per_model",
    "counter",
    _VERSION,
    "Triton's: what look-ups took that missed, in microseconds.",
)

FAMILIES: tuple[Family, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Family))
"""All of them, in the order in which they are told."""
