"""Every route and method of the HTTP ports, with a right body, and what it needs."""

from __future__ import annotations

from typing import Any

from serve.access.scopes import Need
from tests.serve.access.guarded import json_body

Route = tuple[str, str]
"""Method and path, as in the OpenAPI documents."""

INFER = json_body({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]})
ROWS = json_body({"instances": [[1, 2]]})
EXAMPLES = json_body({"examples": [{"x": [1.0, 2.0]}]})
CONFIG = json_body({"store": "/store", "models": []})


def _with_versions(routes: dict[Route, tuple[Need, bytes | None]], paths: tuple[str, ...]) -> dict[Route, Any]:
    return {(method, path + rest): needed for (method, rest), needed in routes.items() for path in paths}


DOCUMENTS: dict[Route, tuple[Need, bytes | None]] = {
    ("OPTIONS", "/"): (Need.VIEW, None),
    ("GET", "/api-description"): (Need.VIEW, None),
    ("GET", "/openapi.json"): (Need.VIEW, None),
}
REPOSITORY: dict[Route, tuple[Need, bytes | None]] = _with_versions(
    {
        ("POST", "/index"): (Need.VIEW, b""),
        ("POST", "/models/{model}/load"): (Need.MANAGE, b""),
        ("POST", "/models/{model}/unload"): (Need.MANAGE, b""),
    },
    ("/v2/repository", "/v2/repository/{repository}"),
)
MODELS: dict[Route, tuple[Need, bytes | None]] = {
    ("GET", "/models"): (Need.VIEW, None),
    ("POST", "/models"): (Need.MANAGE, b""),
    **_with_versions(
        {
            ("GET", ""): (Need.VIEW, None),
            ("PUT", ""): (Need.MANAGE, b""),
            ("DELETE", ""): (Need.MANAGE, None),
        },
        ("/models/{model}", "/models/{model}/{version_or_label}"),
    ),
    ("PUT", "/models/{model}/{version_or_label}/set-default"): (Need.MANAGE, b""),
}
ENDPOINT: dict[Route, tuple[Need, bytes | None]] = {
    **DOCUMENTS,
    ("POST", "/predict/{model}"): (Need.INFER, b"[1, 2]"),
    ("POST", "/predict/{model}/{version_or_label}"): (Need.INFER, b"[1, 2]"),
    ("GET", "/v2"): (Need.NOTHING, None),
    ("GET", "/v2/health/live"): (Need.NOTHING, None),
    ("GET", "/v2/health/ready"): (Need.NOTHING, None),
    ("GET", "/v2/models/stats"): (Need.VIEW, None),
    **_with_versions(
        {
            ("GET", ""): (Need.MODEL, None),
            ("GET", "/ready"): (Need.MODEL, None),
            ("GET", "/config"): (Need.MODEL, None),
            ("GET", "/stats"): (Need.VIEW, None),
            ("POST", "/infer"): (Need.INFER, INFER),
        },
        ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"),
    ),
    **REPOSITORY,
    **_with_versions(
        {
            ("GET", ""): (Need.MODEL, None),
            ("GET", "/metadata"): (Need.MODEL, None),
            ("POST", ":predict"): (Need.INFER, ROWS),
            ("POST", ":classify"): (Need.INFER, EXAMPLES),
            ("POST", ":regress"): (Need.INFER, EXAMPLES),
        },
        ("/v1/models/{model}", "/v1/models/{model}/versions/{version}", "/v1/models/{model}/labels/{label}"),
    ),
    ("GET", "/ping"): (Need.NOTHING, None),
    ("POST", "/predictions/{model}"): (Need.INFER, b"[1, 2]"),
    ("OPTIONS", "/predictions/{model}"): (Need.MODEL, None),
    ("POST", "/predictions/{model}/{version_or_label}"): (Need.INFER, b"[1, 2]"),
    ("POST", "/explanations/{model}"): (Need.INFER, b"[1, 2]"),
    ("POST", "/explanations/{model}/{version_or_label}"): (Need.INFER, b"[1, 2]"),
    ("POST", "/invocations"): (Need.INFER, b"[1, 2]"),
    ("POST", "/models/{model}/invoke"): (Need.INFER, b"[1, 2]"),
    ("POST", "/{model}/predict"): (Need.INFER, b"[1, 2]"),
    ("POST", "/{model}/{version_or_label}/predict"): (Need.INFER, b"[1, 2]"),
    **MODELS,
}
MANAGEMENT: dict[Route, tuple[Need, bytes | None]] = {
    # The document of this port says nothing of what is served.
    **dict.fromkeys(DOCUMENTS, (Need.NOTHING, None)),
    ("GET", "/api/state"): (Need.VIEW, None),
    ("GET", "/api/caller"): (Need.NOTHING, None),
    ("GET", "/api/keys"): (Need.MANAGE, None),
    ("POST", "/api/keys"): (Need.MANAGE, b'{"name": "shop", "scopes": ["view"]}'),
    ("POST", "/api/keys/revoke"): (Need.MANAGE, b'{"id": "66b20c0f3d97"}'),
    ("GET", "/metrics"): (Need.METRICS, None),
    ("GET", "/api/models/{model}/comparison"): (Need.VIEW, None),
    ("GET", "/api/models/{model}/versions"): (Need.VIEW, None),
    ("POST", "/api/models/{model}/infer"): (Need.INFER, INFER),
    ("POST", "/api/models/{model}/predict"): (Need.INFER, b"[1, 2]"),
    ("PUT", "/api/config"): (Need.MANAGE, CONFIG),
    ("GET", "/api/history"): (Need.VIEW, None),
    ("GET", "/api/logs"): (Need.VIEW, None),
    ("PUT", "/api/models/{model}/traffic"): (Need.MANAGE, b'{"3": 100}'),
    ("PUT", "/api/models/{model}/labels"): (Need.MANAGE, b'{"stable": 3}'),
    ("POST", "/api/models/{model}/rollback"): (Need.MANAGE, b""),
    ("POST", "/api/shutdown"): (Need.MANAGE, b""),
    **REPOSITORY,
    **MODELS,
}

NAMELESS: frozenset[Route] = frozenset({("POST", "/invocations")})
"""Routes that name no model, and so may call any."""

_PARTS = {
    "{model}": "double", "{version}": "3", "{label}": "stable", "{version_or_label}": "3", "{repository}": "repository",
}  # fmt: skip


def path_of(route: Route) -> str:
    """A path that can be called."""
    path = "/models?url=net.mar" if route == ("POST", "/models") else route[1]
    for part, value in _PARTS.items():
        path = path.replace(part, value)
    return path


WRONG: dict[Need, tuple[str, ...]] = {
    Need.INFER: ("view", "manage", "metrics", "infer:doubl", "infer:other*"),
    Need.MODEL: ("metrics", "infer:other"),
    Need.VIEW: ("infer", "metrics"),
    Need.MANAGE: ("infer", "view", "metrics"),
    Need.METRICS: ("infer", "view", "manage"),
}
"""All scopes but the right ones, as far as they go together."""

RIGHT: dict[Need, tuple[tuple[str, ...], ...]] = {
    Need.INFER: (("infer:double",), ("infer:dou*",), ("infer",), ("infer:*",)),
    Need.MODEL: (("infer:double",), ("view",), ("manage",)),
    Need.VIEW: (("view",), ("manage",)),
    Need.MANAGE: (("manage",),),
    Need.METRICS: (("metrics",),),
}
"""Each alone lets a call in."""
