"""What each query, operation, route and gRPC method needs, and what scopes grant: the one place for all protocols.

What is missing in a table here needs `manage`, and a test fails.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum

from serve.inference import (
    AllModelsQuery,
    InferenceRequest,
    ModelQuery,
    Query,
    ServerQuery,
    StatisticsQuery,
    StatusQuery,
)
from serve.management_paths import METRICS_PATH, route_of
from serve.operations import (
    InspectModel,
    ListModels,
    LoadModel,
    ReplaceModels,
    RollBack,
    ScaleModel,
    SetDefault,
    SetLabels,
    SetTraffic,
    UnloadModel,
)


class Need(Enum):
    """What a call needs; the value is what is missing, in words."""

    NOTHING = "nothing"
    INFER = "infer"
    MODEL = "view, or infer for the model"
    """To read about one model."""
    VIEW = "view"
    MANAGE = "manage"
    METRICS = "metrics"


QUERIES: Mapping[type, Need] = {
    InferenceRequest: Need.INFER,
    ServerQuery: Need.NOTHING,
    ModelQuery: Need.MODEL,
    StatusQuery: Need.MODEL,
    AllModelsQuery: Need.VIEW,
    StatisticsQuery: Need.VIEW,
    ListModels: Need.VIEW,
    InspectModel: Need.VIEW,
    LoadModel: Need.MANAGE,
    UnloadModel: Need.MANAGE,
    ScaleModel: Need.MANAGE,
    SetDefault: Need.MANAGE,
    ReplaceModels: Need.MANAGE,
    SetTraffic: Need.MANAGE,
    SetLabels: Need.MANAGE,
    RollBack: Need.MANAGE,
}
"""What dialects ask, over HTTP and gRPC, on the endpoint and on the management port."""

MANAGEMENT_ROUTES: Mapping[tuple[str, str], Need] = {
    ("GET", "/api/state"): Need.VIEW,
    ("GET", METRICS_PATH): Need.METRICS,
    ("GET", "/api/history"): Need.VIEW,
    ("GET", "/api/caller"): Need.NOTHING,
    ("GET", "/api/keys"): Need.MANAGE,
    ("POST", "/api/keys"): Need.MANAGE,
    ("POST", "/api/keys/revoke"): Need.MANAGE,
    ("GET", "/api/logs"): Need.VIEW,
    ("GET", "/api/models/{model}/comparison"): Need.VIEW,
    ("GET", "/api/models/{model}/versions"): Need.VIEW,
    ("POST", "/api/models/{model}/infer"): Need.INFER,
    ("POST", "/api/models/{model}/predict"): Need.INFER,
    ("PUT", "/api/config"): Need.MANAGE,
    ("POST", "/api/shutdown"): Need.MANAGE,
    ("PUT", "/api/models/{model}/traffic"): Need.MANAGE,
    ("PUT", "/api/models/{model}/labels"): Need.MANAGE,
    ("POST", "/api/models/{model}/rollback"): Need.MANAGE,
}
"""Routes that are the management port's own, of no dialect."""

_OPEN_INFERENCE = {
    "ModelInfer": Need.INFER,
    "ModelReady": Need.MODEL,
    "ModelMetadata": Need.MODEL,
    "ServerLive": Need.NOTHING,
    "ServerReady": Need.NOTHING,
    "ServerMetadata": Need.NOTHING,
}
_NOT_OFFERED = (
    *("SystemSharedMemoryStatus", "SystemSharedMemoryRegister", "SystemSharedMemoryUnregister"),
    *("CudaSharedMemoryStatus", "CudaSharedMemoryRegister", "CudaSharedMemoryUnregister"),
    *("TraceSetting", "LogSettings"),
)
_REFLECTION = {"ServerReflectionInfo": Need.NOTHING}

GRPC_METHODS: Mapping[str, Mapping[str, Need]] = {
    "inference.GRPCInferenceService": {
        **_OPEN_INFERENCE,
        "ModelStreamInfer": Need.INFER,
        "ModelConfig": Need.MODEL,
        "ModelStatistics": Need.VIEW,
        "RepositoryIndex": Need.VIEW,
        "RepositoryModelLoad": Need.MANAGE,
        "RepositoryModelUnload": Need.MANAGE,
        # Answered by why they are not offered.
        **dict.fromkeys(_NOT_OFFERED, Need.NOTHING),
    },
    "org.pytorch.serve.grpc.openinference.GRPCInferenceService": _OPEN_INFERENCE,
    "org.pytorch.serve.grpc.inference.InferenceAPIsService": {
        "Ping": Need.NOTHING,
        "Predictions": Need.INFER,
        "StreamPredictions": Need.INFER,
        "StreamPredictions2": Need.INFER,
    },
    "org.pytorch.serve.grpc.management.ManagementAPIsService": {
        # It may be asked for the model's OpenAPI document.
        "DescribeModel": Need.MODEL,
        "ListModels": Need.VIEW,
        "RegisterModel": Need.MANAGE,
        "ScaleWorker": Need.MANAGE,
        "SetDefault": Need.MANAGE,
        "UnregisterModel": Need.MANAGE,
    },
    "tensorflow.serving.PredictionService": {
        "Predict": Need.INFER,
        "Classify": Need.INFER,
        "Regress": Need.INFER,
        "MultiInference": Need.INFER,
        "GetModelMetadata": Need.MODEL,
    },
    "tensorflow.serving.ModelService": {"GetModelStatus": Need.MODEL, "HandleReloadConfigRequest": Need.MANAGE},
    "grpc.health.v1.Health": {"Check": Need.NOTHING, "Watch": Need.NOTHING},
    "grpc.reflection.v1.ServerReflection": _REFLECTION,
    "grpc.reflection.v1alpha.ServerReflection": _REFLECTION,
}
"""What a call needs before its messages are read; the queries in them are looked at one by one."""


def query_need(query: Query) -> tuple[Need, str]:
    """What a query needs, and the model that it names; empty where it names none."""
    return QUERIES.get(type(query), Need.MANAGE), getattr(query, "model", None) or ""


def method_need(service: str, method: str) -> Need:
    """What a gRPC method needs, of some model at least."""
    return GRPC_METHODS.get(service, {}).get(method, Need.MANAGE)


def route_need(method: str, path: str) -> tuple[Need, str]:
    """What one of the management port's own routes needs, and the model that it names; empty where it names none."""
    route, model = route_of(path)
    return MANAGEMENT_ROUTES.get((method, route), Need.MANAGE), model


class Grants:
    """What scopes allow. Words that are no scope grant nothing."""

    __slots__ = ("_infer_all", "_names", "_needs", "_prefixes", "infers", "scopes")

    def __init__(self, scopes: Iterable[str]) -> None:
        self.scopes = tuple(scopes)
        models = [scope.partition(":")[2] for scope in self.scopes if scope.startswith("infer:")]
        self._names = frozenset(model for model in models if model and not model.endswith("*"))
        self._prefixes = tuple(model[:-1] for model in models if model.endswith("*"))
        self._infer_all = "infer" in self.scopes or "" in self._prefixes
        self.infers = self._infer_all or bool(models)
        """Whether there is some model that may be called."""
        needs = {Need.NOTHING}
        if self._infer_all:
            needs |= {Need.INFER, Need.MODEL}
        if "manage" in self.scopes:
            needs |= {Need.MANAGE, Need.VIEW, Need.MODEL}
        if "view" in self.scopes:
            needs |= {Need.VIEW, Need.MODEL}
        if "metrics" in self.scopes:
            needs.add(Need.METRICS)
        self._needs = frozenset(needs)

    def allow(self, need: Need, model: str = "") -> bool:
        """Whether a call may be made that needs this of `model`. Where a call names no model it may be any of them."""
        if need in self._needs:
            return True
        if need is not Need.INFER and need is not Need.MODEL:
            return False
        return model in self._names or (bool(model) and model.startswith(self._prefixes))

    def cover(self, scope: str) -> bool:
        """Whether a caller with this scope alone may ask nothing that is refused here."""
        kind, _, name = scope.partition(":")
        if kind != "infer" or not name or self._infer_all:
            needs = {"infer": Need.INFER, "view": Need.VIEW, "manage": Need.MANAGE, "metrics": Need.METRICS}
            return needs.get(kind) in self._needs
        if name.endswith("*"):
            return name[:-1].startswith(self._prefixes)
        return self.allow(Need.INFER, name)

    def allow_some(self, need: Need) -> bool:
        """As `allow`, for one model at least."""
        return need in self._needs or (self.infers and need in (Need.INFER, Need.MODEL))

    @property
    def may_send(self) -> bool:
        """Whether there is a call with a large body that may be made."""
        return self.infers or Need.MANAGE in self._needs
