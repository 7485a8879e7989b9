"""What a gateway counts and compares of models whose calls several versions share, or get copies of.

Other models cost nothing but the question whether they are watched.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping

from serve.errors import kind_of
from serve.inference import InferenceRequest, InferenceResponse, Tensors
from serve.lanes import LoadedVersion
from serve.rollouts.comparison import Comparison
from serve.rollouts.observations import (
    Observations,
    VersionCounters,
    is_clients_fault,
    watched_keys,
    watched_pairs,
)
from serve.rollouts.shadowing import SERVER_ERROR, Shadowing
from serve.router import Router
from serve.routing import VersionKey


class Observer:
    """One gateway's. Only calls that name neither version nor label count: they are what the split shares out."""

    def __init__(
        self,
        router: Router,
        loaded: Mapping[VersionKey, LoadedVersion],
        pick: Callable[[], float] = random.random,
    ) -> None:
        self._router = router
        self._pick = pick
        self.shadowing = Shadowing(loaded)
        self.seen = Observations()
        """All that was seen, as it is now."""
        self.follow()

    def follow(self) -> None:
        """To be called when the router has a new table: forgets what is no longer watched."""
        watched = self._router.watched
        keys = [key for model, route in watched.items() for key in watched_keys(model, route)]
        pairs = [pair for model, route in watched.items() for pair in watched_pairs(model, route)]
        seen, now_ms = self.seen, int(time.time() * 1000)
        seen.keep(keys, pairs)
        for key in keys:
            seen.counters.setdefault(key, VersionCounters())
        for pair in pairs:
            seen.comparisons.setdefault(pair, Comparison(now_ms))

    def report(self) -> bytes:
        """What was seen, as reports carry it."""
        return self.seen.encoded() if self._router.watched else b""

    def note_answer(
        self,
        request: InferenceRequest,
        response: InferenceResponse,
        key: VersionKey,
        inputs: Tensors,
        outputs: Tensors,
        ns: int,
    ) -> None:
        """A call of a watched model was answered by version `key` after `ns`; `outputs` are all that there are."""
        counters = self.seen.counters.get(key)
        if counters is None or request.version is not None or request.label is not None:
            return
        status = 0 if response.payload is None else response.payload.status
        if status >= SERVER_ERROR:
            counters.count_fault(f"status {status}")
        else:
            counters.count_answer(ns)
        model, version = key
        route = self._router.watched.get(model)
        for shadow, percent in () if route is None else route.shadows:
            told = self.seen.comparisons.get((model, version, shadow))
            if told is not None and self._pick() * 100 < percent:
                self.shadowing.offer((model, shadow), request.signature, inputs, outputs, ns, told)

    def note_failure(self, request: InferenceRequest, key: VersionKey, error: Exception) -> None:
        """A call of a watched model failed."""
        counters = self.seen.counters.get(key)
        if counters is None or request.version is not None or request.label is not None:
            return
        if not is_clients_fault(error):
            counters.count_fault(kind_of(error))
        elif self._router.watched[key[0]].sticky is None:
            # One client whose calls are all wrong would otherwise be held against the version that it always gets.
            counters.refused += 1
