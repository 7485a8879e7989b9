"""Desired state against what gateways and replicas report: which versions are loaded, routed, drained, and when.

Pure logic: no Ray, no clock of its own, no input or output. The controller feeds it reports, hands out its tables and
keeps the Ray Serve applications as `deployments` says.

The life of a version: LOADING until every live gateway holds it ready, then READY; when the desired state no longer
names it and no route leads to it, it may be kept for a while, so that going back to it is quick; then it is DRAINING
until no gateway holds it any more, and forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from model_store.access_keys import AccessKey
from serve.control.heartbeats import Heartbeats
from serve.control.wanted import VersionState, Wanted, wanted_route
from serve.reports import (
    DRAINING,
    IDLE,
    LOADING,
    READY,
    TROUBLE,
    GatewayReport,
    ReplicaReport,
    told_failure,
)
from serve.routing import (
    BEING_LOADED,
    Made,
    ModelRoute,
    RoutingTable,
    VersionEntry,
    VersionKey,
    runs_differently,
    with_replicas,
)


class Fleet:
    """The controller's picture of the cluster. `number` is the first table's; it must exceed all earlier ones."""

    def __init__(self, store: str, number: int) -> None:
        self.table = RoutingTable(number=number, store=store)
        self.versions: dict[VersionKey, VersionState] = {}
        self.unavailable: dict[str, str] = {}
        """Model -> why it has no version, as the controller's conversions report it."""
        self.keys: tuple[AccessKey, ...] | None = None
        """Of callers, for the next table; None leaves those of the table before, an earlier controller's perhaps."""
        self._named: set[str] = set()
        self._wanted: dict[str, tuple[Wanted, ...]] = {}
        self._keep_s: dict[str, float] = {}
        self._made: dict[str, Made] = {}
        self.heard = Heartbeats()
        self._settled = False
        self._adopted = 0

    # -- what comes in ---------------------------------------------------------------------------------------------

    def want(
        self, model: str, versions: Iterable[Wanted], keep_previous_s: float = 0.0, made: Made | None = None
    ) -> None:
        """The versions of a model from now on; those that they replace stay loaded for `keep_previous_s`. A version
        that had failed is tried again. `made` is what the next controller is told of their sources."""
        self._named.add(model)
        self._wanted[model] = tuple(versions)
        if made is not None:
            self._made[model] = made
        self._keep_s[model] = keep_previous_s
        self.unavailable.pop(model, None)
        for wanted in self._wanted[model]:
            self._want_version(wanted.entry)

    def _want_version(self, entry: VersionEntry) -> None:
        state = self.versions.get(entry.key)
        if state is None or state.phase in ("FAILED", "DRAINING"):
            # Begins with the number that the entry says: at least one, so that it is seen whether it can be loaded.
            self.versions[entry.key] = VersionState(entry, since_table=self.table.number + 1)
            return
        if runs_differently(state.entry, entry):
            if state.phase == "READY":
                state.fallback = state.entry
            state.phase, state.since_table = "LOADING", self.table.number + 1
        if entry.serve.scaling is not None:
            least = 0 if state.phase == "READY" else 1
            entry = with_replicas(entry, max(entry.serve.scaling.within(state.entry.serve.replicas), least))
        state.entry, state.reason, state.error = entry, None, None

    def name(self, model: str) -> None:
        """The desired state names the model; until `want` says which versions, it is served as it was."""
        self._named.add(model)

    def retire(self, model: str) -> None:
        """The desired state no longer names the model."""
        self._named.discard(model)
        self._wanted.pop(model, None)
        self._keep_s.pop(model, None)
        self._made.pop(model, None)
        self.unavailable.pop(model, None)

    def release(self, model: str) -> None:
        """Versions of the model that are only kept in case somebody goes back to them are kept no longer."""
        wanted = {each.entry.key for each in self.wanted(model)}
        for key, state in self.versions.items():
            if key[0] == model and key not in wanted:
                state.spare_since = float("-inf")

    def adopt(self, table: RoutingTable, report: GatewayReport) -> None:
        """Takes over what a gateway still serves from an earlier controller: nothing that answers is dropped."""
        if self._settled or table.number == 0:
            return
        fallbacks = {entry.key: entry for entry in table.fallbacks}
        for entry in table.versions:
            said = report.states.get(entry.key, LOADING)
            # What is in trouble has been ready: it is not to be dropped for what passes by itself.
            phase = "READY" if said in (READY, IDLE) or said.startswith(TROUBLE) else "LOADING"
            fallback = fallbacks.get(entry.key) if phase == "LOADING" else None
            self.versions.setdefault(entry.key, VersionState(entry, phase, fallback=fallback))
        if table.number > self._adopted:
            self._adopted = table.number
            number = max(self.table.number, table.number) + 1
            self.table = msgspec.structs.replace(table, number=number, store=self.table.store)
            self._made = dict(table.made) | self._made

    def hear_replica(self, report: ReplicaReport, now: float) -> None:
        """A replica's heartbeat, its farewell, or its failure."""
        if report.failure is not None and not report.leaving:
            self.fail(report.key, report.failure)
        else:
            self.heard.hear_replica(report, now)

    def fail(self, key: VersionKey, reason: str) -> None:
        """A version can't be loaded, or not be run as it is wanted to, and why. One that was ready stays so: requests
        wait for the next attempt, and the state tells why there is no replica."""
        state = self.versions.get(key)
        if state is None or state.phase != "LOADING":
            if state is not None and state.phase == "READY" and self._lacks_replicas(state):
                state.reason = told_failure(reason).message
            return
        state.error = told_failure(reason)
        state.reason = state.error.message
        if state.fallback is None:
            state.phase = "FAILED"
        else:
            state.entry, state.fallback = state.fallback, None
            state.phase, state.since_table = "READY", self.table.number + 1

    def _lacks_replicas(self, state: VersionState) -> bool:
        serve = state.entry.serve
        return serve.executor == "replicas" and serve.replicas > 0 and not self.heard.replicas_of(state.entry.key)

    def trouble_of(self, key: VersionKey) -> str | None:
        """Why no gateway can run a ready version at present; None where one can."""
        since = self.versions[key].since_table
        said = self.heard.states(key, since)
        failures = [text for text in said if text not in (None, READY, IDLE, LOADING, DRAINING)]
        return told_failure(failures[0]).message if failures and len(failures) == len(said) else None

    def scale(self, key: VersionKey, replicas: int) -> None:
        """The version is to have so many replicas from now on; without any it is ready all the same."""
        state = self.versions[key]
        state.entry = with_replicas(state.entry, replicas)
        if not replicas and state.error is None:
            # Why the last ones were lost says nothing of those that the next request starts.
            state.reason = None

    def wait(self, key: VersionKey, reason: str) -> None:
        """A version that loads waits for what Ray does not have yet."""
        state = self.versions.get(key)
        if state is not None and state.phase == "LOADING":
            state.reason = reason

    def kept_until(self, key: VersionKey) -> float | None:
        """By the controller's clock, until when the version stays loaded though it was replaced; None where it was
        not."""
        state = self.versions[key]
        if state.phase != "READY" or state.spare_since is None or state.spare_since == float("-inf"):
            return None
        return state.spare_since + self._keep_s.get(key[0], 0.0)

    def made(self, model: str) -> Made | None:
        """What `want`, or an earlier controller, last said of the model's sources."""
        return self._made.get(model)

    def wanted(self, model: str) -> tuple[Wanted, ...]:
        """What `want` last said of the model; none where nothing was said yet."""
        return self._wanted.get(model, ())

    def is_served(self, model: str) -> bool:
        """Whether the model's route leads to what `want` last said, run as it said."""
        wanted = self.wanted(model)
        states = [self.versions[each.entry.key] for each in wanted]
        # Replicas that were all lost are another matter: what is wanted is what callers get, or wait for.
        settled = all(state.phase == "READY" and state.fallback is None and state.error is None for state in states)
        return bool(wanted) and settled and self.table.routes.get(model) == wanted_route(wanted)

    # -- what comes out --------------------------------------------------------------------------------------------

    def step(self, now: float) -> None:
        """Moves every version on as far as the reports allow; `table` is new afterwards where something changed."""
        self._settled = True
        self.heard.drop_silent(now)
        for key, state in self.versions.items():
            self._advance(key, state)
        # A model that is still being prepared keeps what it had: its adopted route, until `want` tells more.
        routes = {model: route for model in sorted(self._named) if (route := self._route(model))}
        self._start_draining(routes, now)
        self._publish(routes)
        self._forget_drained()

    def deployments(self) -> dict[VersionKey, VersionEntry]:
        """The versions that need replicas now: those that run on some, are to, or still have calls there."""
        wanted = {}
        for key, state in self.versions.items():
            entries = [e for e in (state.entry, state.fallback) if e is not None and e.serve.executor == "replicas"]
            if entries and state.phase != "FAILED":
                wanted[key] = entries[0]
        return wanted

    def is_idle(self, key: VersionKey) -> bool:
        """Whether the version, which is ready, is loaded nowhere: its next request loads it, or starts a replica."""
        state = self.versions[key]
        if state.phase != "READY":
            return False
        if state.entry.serve.executor == "replicas":
            return state.entry.serve.replicas == 0
        said = self.heard.states(key)
        return bool(said) and all(text == IDLE for text in said)

    def _advance(self, key: VersionKey, state: VersionState) -> None:
        # One with an error tells why a change was not made, though it has replicas.
        if state.phase == "READY" and state.reason is not None and state.error is None and self.heard.replicas_of(key):
            state.reason = None
        if state.phase != "LOADING":
            return
        seen = [text or LOADING for text in self.heard.states(key, state.since_table)]
        if not seen:
            return
        failures = [text for text in seen if text not in (READY, IDLE, LOADING, DRAINING)]
        if failures:
            self.fail(key, failures[0])
        elif all(text in (READY, IDLE) for text in seen):
            state.phase, state.fallback, state.reason = "READY", None, None

    def _route(self, model: str) -> ModelRoute | None:
        """The wanted route once all its versions are ready, the present one until then."""
        wanted = self._wanted.get(model)
        if wanted is not None and self._are_ready(wanted):
            return wanted_route(wanted)
        present = self.table.routes.get(model)
        # An adopted route may lead to what then turns out not to load: callers are told so, instead of waiting for it.
        if present is not None and all(self._has_failed((model, version)) for version, _ in present.split):
            return None
        return present

    def _are_ready(self, wanted: Iterable[Wanted]) -> bool:
        return all(self.versions[each.entry.key].phase == "READY" for each in wanted)

    def _has_failed(self, key: VersionKey) -> bool:
        state = self.versions.get(key)
        return state is not None and state.phase == "FAILED"

    def _start_draining(self, routes: dict[str, ModelRoute], now: float) -> None:
        keep = {w.entry.key for wanted in self._wanted.values() for w in wanted}
        # Of a model that is still being prepared nobody knows yet which versions it will be.
        unprepared = self._named - self._wanted.keys()
        keep |= {key for key in self.versions if key[0] in unprepared}
        keep |= {(m, v) for m, route in routes.items() for v, _ in route.split}
        keep |= {(m, v) for m, route in routes.items() for v in route.labels.values()}
        # Until the route switches, what was callable by its number stays so.
        switching = {model for model, wanted in self._wanted.items() if not self._are_ready(wanted)}
        keep |= {key for key, state in self.versions.items() if key[0] in switching and state.phase == "READY"}
        keep |= {(m, v) for m, route in routes.items() for v, _ in route.shadows}
        for key, state in self.versions.items():
            if key in keep:
                state.spare_since = None
            elif state.phase != "DRAINING" and not self._is_kept(key, state, now):
                state.phase, state.since_table = "DRAINING", self.table.number + 1

    def _is_kept(self, key: VersionKey, state: VersionState, now: float) -> bool:
        state.spare_since = now if state.spare_since is None else state.spare_since
        return state.phase == "READY" and now - state.spare_since < self._keep_s.get(key[0], 0.0)

    def _publish(self, routes: dict[str, ModelRoute]) -> None:
        held = [s for s in self.versions.values() if s.phase in ("LOADING", "READY")]
        table = RoutingTable(
            number=self.table.number,
            store=self.table.store,
            versions=tuple(
                msgspec.structs.replace(state.entry, replicas=self.heard.replicas_of(state.entry.key)) for state in held
            ),
            routes=routes,
            unavailable=self._reasons(routes),
            keys=self.table.keys if self.keys is None else self.keys,
            fallbacks=tuple(state.fallback for state in held if state.fallback is not None),
            made={model: self._made[model] for model in sorted(self._named & self._made.keys())},
        )
        # A life that begins or ends with the next table needs one, though it may say the same as the present one.
        if table != self.table or any(state.since_table > table.number for state in self.versions.values()):
            self.table = msgspec.structs.replace(table, number=self.table.number + 1)

    def _reasons(self, routes: dict[str, ModelRoute]) -> dict[str, str]:
        reasons = {model: text for model, text in self.unavailable.items() if model not in routes}
        for model, wanted in self._wanted.items():
            if model not in routes:
                failed = [s.reason for w in wanted if (s := self.versions[w.entry.key]).phase == "FAILED"]
                reasons[model] = failed[0] or "it failed to load" if failed else BEING_LOADED
        return reasons

    def _forget_drained(self) -> None:
        for key, state in list(self.versions.items()):
            if state.phase == "DRAINING" and self.heard.is_gone(key, state.since_table):
                del self.versions[key]
