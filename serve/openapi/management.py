"""The project's own management calls."""

from __future__ import annotations

from serve.openapi.parts import (
    CHANGE_ERRORS,
    TEXT,
    YES_NO,
    Paths,
    Schema,
    answer,
    body,
    errors,
    json_of,
    list_of,
    object_of,
    operation,
    parameter,
    ref,
    tagged,
)

SCHEMAS: dict[str, Schema] = {
    "State": object_of(
        {
            "gateway": {"type": "object"},
            "models": list_of({"type": "object"}),
            "rollouts": list_of({"type": "object"}),
            "ended_rollouts": list_of({"type": "object"}),
        },
        ["gateway", "models"],
    ),
    "Comparison": object_of(
        {
            "model": TEXT,
            "unavailable": {"type": ["string", "null"]},
            "versions": list_of({"type": "object"}),
            "comparisons": list_of({"type": "object"}),
            "rollout": {"type": ["object", "null"]},
            "ended_rollout": {"type": ["object", "null"]},
        },
        ["model", "versions", "comparisons"],
    ),
    "Changes": object_of({"applied": YES_NO, "changes": list_of({"type": "object"})}, ["applied", "changes"]),
    "ChangedModels": object_of(
        {"generation": {"type": "integer"}, "models": list_of({"type": "object"})}, ["generation", "models"]
    ),
    "NewKey": object_of(
        {
            "name": TEXT,
            "scopes": list_of(TEXT),
            "lifetime_s": {"type": ["integer", "null"]},
            "rate_per_s": {"type": ["number", "null"]},
            "concurrency": {"type": ["integer", "null"]},
        },
        ["name", "scopes"],
    ),
    "StoredVersions": object_of({"model": TEXT, "versions": list_of({"type": "object"})}, ["model", "versions"]),
    "Logs": object_of(
        {
            "lines": list_of(object_of(dict.fromkeys(("time", "level", "process", "text"), TEXT), ["time", "text"])),
            "next": {"type": "integer"},
            "epoch": {"type": "integer"},
        },
        ["lines", "next", "epoch"],
    ),
    "History": object_of(
        {
            "generations": list_of({"type": "object"}),
            "served": list_of({"type": "object"}),
            "rollouts": list_of({"type": "object"}),
        },
        ["generations", "served"],
    ),
}
MAX_MIB = 8
_ERRORS = errors(CHANGE_ERRORS, ref("Error"))


def management_paths() -> Paths:
    """What only the management port answers."""
    caller = object_of({"access": YES_NO, "name": TEXT, "scopes": list_of(TEXT)}, ["access", "name", "scopes"])
    plan = parameter("plan", "query", {"enum": ["true", "false"]}, "Only say what would change.")
    made_from = parameter(
        "generation", "query", {"type": "integer"}, "The config's own basis: 409 where it is not the newest any more."
    )
    stopping = object_of({"stopping": YES_NO}, ["stopping"])
    return tagged(
        "management",
        {
            "/api/state": {
                "get": operation(
                    "What `onegate status` shows", {200: answer("The state.", json_of(ref("State")))}, _ERRORS
                )
            },
            "/metrics": {
                "get": operation(
                    "What gateways, replicas and the controller count, for Prometheus",
                    {200: answer("The metrics.", {"text/plain": TEXT})},
                    _ERRORS,
                )
            },
            "/api/caller": {
                "get": operation(
                    "Who asks: whether credentials are looked at, and the scopes of these",
                    {200: answer("The caller.", json_of(caller))},
                    _ERRORS,
                )
            },
            "/api/keys": {
                "get": operation(
                    "The keys of callers, without what is secret of them",
                    {200: answer("All keys.", json_of(object_of({"keys": list_of({"type": "object"})}, ["keys"])))},
                    _ERRORS,
                ),
                "post": operation(
                    "Make a key, with no more than the caller's own may",
                    {200: answer("The key, with its text, which is told this once.", json_of({"type": "object"}))},
                    _ERRORS,
                    request=body(json_of(ref("NewKey"))),
                ),
            },
            "/api/keys/revoke": {
                "post": operation(
                    "Revoke a key",
                    {
                        200: answer(
                            "What is no key any more.", json_of(object_of({"revoked": list_of(TEXT)}, ["revoked"]))
                        )
                    },
                    _ERRORS,
                    request=body(json_of(object_of({"id": TEXT}, ["id"]))),
                )
            },
            "/api/models/{model}/versions": {
                "get": operation(
                    "The manifests of a model's versions in the store: what was converted how, and how equal it is",
                    {200: answer("Newest first.", json_of(ref("StoredVersions")))},
                    _ERRORS,
                    parameters=[
                        parameter(
                            "version", "query", {"type": "integer"}, "Only this one, by its number in the store."
                        ),
                        parameter("limit", "query", {"type": "integer"}, "Most versions."),
                    ],
                )
            },
            "/api/models/{model}/infer": {
                "post": _handed_on("Open Inference's `/v2/models/{model}/infer`", {"application/json": {}})
            },
            "/api/models/{model}/predict": {"post": _handed_on("`/predict/{model}`", {"*/*": {}})},
            "/api/models/{model}/comparison": {
                "get": operation(
                    "How the versions of a model do beside each other, and how far a shadow is from them",
                    {200: answer("The report.", json_of(ref("Comparison")))},
                    _ERRORS,
                )
            },
            "/api/config": {
                "put": operation(
                    "Make a config the desired state",
                    {200: answer("The changes.", json_of(ref("Changes")))},
                    _ERRORS,
                    parameters=[plan, made_from],
                    request=body({"application/yaml": TEXT, **json_of({"type": "object"})}),
                )
            },
            "/api/history": {
                "get": operation(
                    "Who changed desired state, when, why and what",
                    {200: answer("Newest first; with `model` what was served of it too.", json_of(ref("History")))},
                    _ERRORS,
                    parameters=[
                        parameter("model", "query", TEXT, "Only what changed this model."),
                        parameter("limit", "query", {"type": "integer"}, "Most entries."),
                    ],
                )
            },
            "/api/logs": {
                "get": operation(
                    "Log lines of all processes",
                    {
                        200: answer(
                            "Oldest first; `next` as `after` asks for what came since. Another `epoch` is another "
                            "controller, which counts anew.",
                            json_of(ref("Logs")),
                        )
                    },
                    _ERRORS,
                    parameters=[
                        parameter("model", "query", TEXT, "Only lines of its replicas, and those that name it."),
                        parameter("after", "query", {"type": "integer"}, "Only lines from this number on."),
                        parameter("since", "query", {"type": "string", "format": "date-time"}, "None older than this."),
                        parameter("limit", "query", {"type": "integer"}, "Most lines; the newest are told."),
                    ],
                )
            },
            "/api/models/{model}/traffic": {
                "put": _change("Share the calls of a model out over its versions, in percent", {"type": "integer"})
            },
            "/api/models/{model}/labels": {
                "put": _change(
                    "Move labels of a model to versions; null takes one away", {"type": ["integer", "string", "null"]}
                )
            },
            "/api/models/{model}/rollback": {
                "post": _on_model(
                    "Go back to what was served before, or to that record of it",
                    object_of({"to": {"type": ["integer", "null"]}}, []),
                )
            },
            "/api/shutdown": {
                "post": operation("Drain and end", {200: answer("It begins.", json_of(stopping))}, _ERRORS)
            },
        },
    )


def _change(what: str, values: Schema) -> Schema:
    return _on_model(what, {"type": "object", "additionalProperties": values})


def _on_model(what: str, asked: Schema) -> Schema:
    changed = {200: answer("Gateways route so.", json_of(ref("ChangedModels")))}
    return operation(
        what,
        changed,
        _ERRORS,
        parameters=[
            parameter("plan", "query", {"enum": ["true", "false"]}, "Only say what would change."),
            parameter(
                "generation",
                "query",
                {"type": "integer"},
                "What it was planned from: 409 where that is not the newest.",
            ),
        ],
        request=body(json_of(asked)),
    )


def _handed_on(what: str, content: Schema) -> Schema:
    return operation(
        f"{what} of a gateway, for the console: few calls at once, {MAX_MIB} MiB at most",
        {200: answer("As the gateway answers.", {"*/*": {}})},
        _ERRORS,
        parameters=[parameter("version", "query", TEXT, "Only this version.")],
        request=body(content),
    )
