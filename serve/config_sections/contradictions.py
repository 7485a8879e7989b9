"""Keys of a config that are right one by one and do not go together.

Works on the values as they are written, before or after they are typed, so that one wrong key elsewhere
hides none of this. What is of the wrong type here is passed over: the typed model reports it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations, pairwise
from typing import Any

from serve.config_sections.devices_contradictions import device_contradictions
from serve.config_sections.mistakes import Finding
from serve.config_sections.rules import is_loopback, is_number
from serve.config_sections.source import KeyPath, render_path
from serve.upstreams import is_upstream

PORTS = ("http_port", "grpc_port", "management_port")
ALL_TRAFFIC = 100


def contradictions(document: Any, defaults: Mapping[str, Any]) -> Iterator[Finding]:
    """Where and what, for all of `document`; `defaults` by path stand in for what is not written."""
    yield from _equal_ports(_mapping(document, "gateway"), defaults)
    yield from _open_management(document, defaults)
    yield from _origins(_mapping(document, "gateway"))
    signing = _mapping(document, "signing")
    if signing.get("required") is True and not signing.get("public_keys"):
        yield ("signing", "required"), "needs `public_keys`: without one no version could be served"
    models = _mappings(document, "models")
    names = [((*path, "name"), model.get("name")) for path, model in models]
    yield from _repeated(names, "name", "models need different names")
    for path, model in models:
        yield from _model(path, model, defaults)


def _mapping(value: Any, key: str) -> Mapping[str, Any]:
    inner = value.get(key) if isinstance(value, Mapping) else None
    return inner if isinstance(inner, Mapping) else {}


def _mappings(value: Any, key: str, path: KeyPath = ()) -> list[tuple[KeyPath, Mapping[str, Any]]]:
    """The mappings in the list at `key`, each with its path."""
    listed = value.get(key) if isinstance(value, Mapping) else None
    items = listed if isinstance(listed, list) else []
    return [((*path, key, index), item) for index, item in enumerate(items) if isinstance(item, Mapping)]


def _repeated(values: list[tuple[KeyPath, Any]], what: str, rule: str) -> Iterator[Finding]:
    first: dict[Any, KeyPath] = {}
    for path, value in values:
        if not isinstance(value, str | int):
            continue
        if value in first:
            yield path, f"the {what} {value!r} is taken by {render_path(first[value][:-1])}; {rule}"
        else:
            first[value] = path


def _places(path: KeyPath, mapping: Mapping[str, Any]) -> list[tuple[KeyPath, Any]]:
    """What stands at the last key of `path` in `mapping`, each place of a list by itself."""
    value = mapping.get(str(path[-1]))
    return [((*path, index), item) for index, item in enumerate(value)] if isinstance(value, list) else [(path, value)]


def _equal_ports(gateway: Mapping[str, Any], defaults: Mapping[str, Any]) -> Iterator[Finding]:
    ports = {name: gateway.get(name, defaults[f"gateway.{name}"]) for name in PORTS}
    for one, other in combinations(PORTS, 2):
        if type(ports[one]) is int and ports[one] == ports[other]:
            here, there = (other, one) if other in gateway else (one, other)
            yield ("gateway", here), f"{ports[here]} is also gateway.{there}; the three ports must differ"


def _open_management(document: Any, defaults: Mapping[str, Any]) -> Iterator[Finding]:
    """Management that others can reach, of callers without a key."""
    gateway = _mapping(document, "gateway")
    anonymous = _mapping(document, "access").get("anonymous", defaults["access.anonymous"])
    if not isinstance(anonymous, list) or "manage" not in anonymous:
        return
    rule = "needs a key; take 'manage' out of access.anonymous, and make one with `onegate keys create`"
    management_host = gateway.get("management_host", defaults["gateway.management_host"])
    if isinstance(management_host, str) and not is_loopback(management_host):
        yield ("gateway", "management_host"), f"management at {management_host}, where others reach it, {rule}"
    host = gateway.get("host", defaults["gateway.host"])
    if gateway.get("management_on_endpoint") is True and isinstance(host, str) and not is_loopback(host):
        yield ("gateway", "management_on_endpoint"), f"management at {host}, where others reach it, {rule}"


def _origins(gateway: Mapping[str, Any]) -> Iterator[Finding]:
    origins = gateway.get("cors_origins")
    if isinstance(origins, list) and "*" in origins and len(origins) > 1:
        yield ("gateway", "cors_origins"), "'*' is every origin, others beside it mean nothing; keep one or the other"


def _model(path: KeyPath, model: Mapping[str, Any], defaults: Mapping[str, Any]) -> Iterator[Finding]:
    versions = _mappings(model, "versions", path)
    yield from _either(path, model, "source", "versions")
    for version_path, version in versions:
        yield from _either(version_path, version, "source", "version")
    for name in ("label", "as_version", "source", "version"):
        found = [place for version_path, version in versions for place in _places((*version_path, name), version)]
        yield from _repeated(found, name, f"versions of a model need different {name}s")
    yield from _traffic((*path, "versions"), [version for _, version in versions])
    yield from _shadows((*path, "versions"), versions)
    if isinstance(model.get("sticky"), Mapping):
        yield from _either((*path, "sticky"), model["sticky"], "header", "request_id")
    yield from _rollout((*path, "rollout"), _mapping(model, "rollout"), defaults)
    inputs = [((*at, "name"), one.get("name")) for at, one in _mappings(model, "inputs", path)]
    yield from _repeated(inputs, "name", "inputs need different names")
    yield from _processor((*path, "processor"), _mapping(model, "processor"), defaults)
    yield from _serve((*path, "serve"), _mapping(model, "serve"), defaults)
    sources = [model.get("source"), *(version.get("source") for _, version in versions)]
    yield from _upstream((*path, "serve"), _mapping(model, "serve"), sources)
    yield from device_contradictions((*path, "serve"), _mapping(model, "serve"))


def _processor(path: KeyPath, processor: Mapping[str, Any], defaults: Mapping[str, Any]) -> Iterator[Finding]:
    if processor.get("type") != "json":
        return
    for key, value in processor.items():
        known = f"models[].processor.{key}"
        if key != "type" and known in defaults and value != defaults[known]:
            yield (*path, key), "is for the processor 'image'; 'json' has no other keys"


def _either(path: KeyPath, mapping: Mapping[str, Any], one: str, other: str) -> Iterator[Finding]:
    given = [name for name in (one, other) if mapping.get(name) is not None]
    if len(given) == 2:
        yield (*path, other), f"{one!r} and {other!r} exclude each other; keep one"
    elif not given:
        yield path, f"expected {one!r} or {other!r}, got neither"


def _traffic(path: KeyPath, versions: list[Mapping[str, Any]]) -> Iterator[Finding]:
    shares = [version["traffic"] for version in versions if version.get("traffic") is not None]
    if shares and all(type(share) is int for share in shares) and sum(shares) != ALL_TRAFFIC:
        spelled = " + ".join(map(str, shares))
        total = spelled if len(shares) == 1 else f"{spelled} = {sum(shares)}"
        yield path, f"expected traffic that adds up to {ALL_TRAFFIC} percent, got {total}"


def _shadows(path: KeyPath, versions: list[tuple[KeyPath, Mapping[str, Any]]]) -> Iterator[Finding]:
    for version_path, version in versions:
        if version.get("shadow") is not True:
            if version.get("shadow_percent") is not None:
                yield (*version_path, "shadow_percent"), "is for a version with `shadow: true`"
        elif version.get("traffic") is not None:
            yield (*version_path, "traffic"), "a shadow answers nobody; keep either 'traffic' or 'shadow'"
    if versions and all(version.get("shadow") is True for _, version in versions):
        yield path, "expected a version that is no shadow: somebody must answer"


def _rollout(path: KeyPath, rollout: Mapping[str, Any], defaults: Mapping[str, Any]) -> Iterator[Finding]:
    steps = rollout.get("steps")
    if isinstance(steps, list) and steps and all(type(step) is int for step in steps):
        rises = all(one < other for one, other in pairwise(steps))
        if not rises or steps[-1] != ALL_TRAFFIC:
            told = ", ".join(map(str, steps))
            yield (*path, "steps"), f"expected percents that rise and end with {ALL_TRAFFIC}, got {told}"
    if rollout.get("compare_percent") is not None and rollout.get("max_disagreement") is None:
        yield (*path, "compare_percent"), "is for `max_disagreement`, which is missing"
    step_s = rollout.get("step_s", defaults["models[].rollout.step_s"])
    hold_s = rollout.get("max_hold_s", defaults["models[].rollout.max_hold_s"])
    if rollout and is_number(step_s) and is_number(hold_s) and hold_s < step_s:
        yield (*path, "max_hold_s"), f"expected at least step_s, which is {step_s:g}, got {hold_s:g}"


def _serve(path: KeyPath, serve: Mapping[str, Any], defaults: Mapping[str, Any]) -> Iterator[Finding]:
    replicas = serve.get("replicas")
    if serve.get("executor") == "inline" and type(replicas) is int and replicas > 1:
        yield (
            (*path, "replicas"),
            f"{replicas} replicas need executor 'replicas' or 'auto', got 'inline'",
        )
    yield from _scaling((*path, "replicas"), serve)
    delay_ms = _mapping(serve, "batching").get("max_delay_ms")
    deadline_ms = serve.get("deadline_ms", defaults["models[].serve.deadline_ms"])
    if is_number(delay_ms) and is_number(deadline_ms) and deadline_ms <= delay_ms:
        yield (
            (*path, "batching", "max_delay_ms"),
            f"expected less than the deadline of {deadline_ms} ms, got {delay_ms}",
        )


def _upstream(path: KeyPath, serve: Mapping[str, Any], sources: list[Any]) -> Iterator[Finding]:
    executor, upstream = serve.get("executor"), _mapping(serve, "upstream")
    elsewhere = [source for source in sources if isinstance(source, str) and is_upstream(source)]
    if elsewhere and executor in ("inline", "replicas"):
        yield (*path, "executor"), f"the model runs on another server ({elsewhere[0]:.80}); expected 'auto'"
    if upstream.get("private_key") is not None and upstream.get("certificate") is None:
        yield (*path, "upstream", "private_key"), "is the key of a `certificate`, which is missing"
    if upstream.get("certificate") is not None and upstream.get("private_key") is None:
        yield (*path, "upstream", "certificate"), "needs its `private_key`"
    if upstream.get("api_key_file") is not None and upstream.get("api_key_env") is not None:
        yield (*path, "upstream", "api_key_env"), "'api_key_file' and 'api_key_env' exclude each other; keep one"


def _scaling(path: KeyPath, serve: Mapping[str, Any]) -> Iterator[Finding]:
    bounds = _mapping(serve, "replicas")
    if bounds and serve.get("executor") == "inline":
        yield path, "bounds of replicas need executor 'replicas' or 'auto', got 'inline'"
    least, most = bounds.get("min"), bounds.get("max")
    if is_number(least) and is_number(most) and least > most:
        yield (*path, "min"), f"expected at most max, which is {most}, got {least}"
