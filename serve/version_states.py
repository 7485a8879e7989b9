"""How far the versions of a model are in this process: what a gateway can say of their life without the controller."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from serve.inference import StatusQuery
from serve.operations import VersionStatus
from serve.reports import DRAINING, LOADING, READY, told_failure
from serve.router import Router
from serve.routing import NOT_YET, VersionKey


def statuses_of(
    query: StatusQuery, router: Router, loaded: Collection[VersionKey], states: Mapping[VersionKey, str]
) -> tuple[VersionStatus, ...]:
    """The versions that are asked for, oldest first.

    Those of the table, and those that have left it and still answer. A model that has none yet, or none that could be
    made, is one status without a version. `states` are the loader's words (`serve/reports.py`).

    Raises `ModelNotFound`, and `ModelNotReady` before the first table.
    """
    model, table = query.model, router.table
    listed = {entry.key for entry in table.versions if entry.key[0] == model}
    keys = sorted(listed | {key for key in loaded if key[0] == model})
    if query.version is not None or query.label is not None:
        keys = [_one(query, router, keys)]
    if not keys:
        reason = table.unavailable.get(model)
        if reason is None:
            router.versions(model)  # raises: neither a version nor a reason why there is none
        state = "LOADING" if reason is None or reason in NOT_YET else "FAILED"
        return (VersionStatus(version="", state=state, reason=reason),)
    route = table.routes.get(model)
    default = (model, route.split[0][0]) if route else None
    labels = router.labels(model)
    found = []
    for key in keys:
        state, reason = _state(key, listed, loaded, states)
        name = router.name_of(key)
        named = tuple(label for label, version in labels.items() if version == name)
        found.append(VersionStatus(version=name, state=state, reason=reason, labels=named, default=key == default))
    return tuple(found)


def _one(query: StatusQuery, router: Router, keys: list[VersionKey]) -> VersionKey:
    if query.label is not None:
        return router.resolve(query.model, label=query.label)
    for key in keys:
        if router.name_of(key) == query.version:
            return key
    return router.resolve(query.model, query.version)


def _state(
    key: VersionKey, listed: Collection[VersionKey], loaded: Collection[VersionKey], states: Mapping[VersionKey, str]
) -> tuple[str, str | None]:
    if key not in listed:
        return "DRAINING", None
    if key in loaded:
        # While the way it is run changes, it goes on answering as before.
        return "READY", None
    said = states.get(key, LOADING)
    return ("LOADING", None) if said in (LOADING, READY, DRAINING) else ("FAILED", told_failure(said).message)
