"""Looks at a running gateway, taken in a thread of their own, and a frame made of the newest few of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from model_store.errors import ModelNotReady, OnegateError
from serve.live.counts import Called, Counts, Figures, between, read_counts
from serve.management_client import ManagementClient

LOOK_TIMEOUT_S = 5.0

SPAN_S = 5.0
"""What a frame tells of. Gateways report once a second: over a shorter span a steady load would seem to jump."""


@dataclass(frozen=True)
class Look:
    """What a gateway said at a time (of `time.monotonic`). `missing` says why there are no counts, where there are
    none."""

    at: float
    state: dict[str, Any]
    counts: Counts | None
    missing: str | None = None


def look(client: ManagementClient) -> Look:
    """Raises what the state raises, `ModelNotReady` where nobody answers."""
    state = client.state(LOOK_TIMEOUT_S)
    try:
        counts, missing = read_counts(client.metrics(LOOK_TIMEOUT_S)), None
    except ModelNotReady:
        raise
    except OnegateError as error:
        counts, missing = None, f"no figures: {client.url}/metrics: {error.message}"
    return Look(time.monotonic(), state, counts, missing)


class Looking:
    """Looks again and again, every `interval_s`, until `end`. A gateway that hangs keeps no key waiting."""

    def __init__(self, client: ManagementClient, interval_s: float) -> None:
        self._client = client
        self._interval_s = interval_s
        self._ended = threading.Event()
        self.looks: tuple[Look, ...] = ()
        """The newest ones, oldest first, over `SPAN_S` or a little more."""
        self.failure: str | None = None
        """Why the last look was none."""
        self.number = 0
        """Grows with each look, failed ones included."""
        # A daemon: a look that hangs ends by its timeout, after the command.
        self._thread = threading.Thread(target=self._run, name="looks", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """No further look."""
        self._ended.set()

    def _run(self) -> None:
        while True:
            try:
                looks = (*self.looks, look(self._client))
                while len(looks) > 2 and looks[1].at <= looks[-1].at - SPAN_S:
                    looks = looks[1:]
                self.looks, self.failure = looks, None
            except OnegateError as error:
                # What comes after it is no continuation: the gateway may be another one.
                self.looks, self.failure = (), error.message
            self.number += 1
            if self._ended.wait(self._interval_s):
                return


NO_FIGURES = Figures(0.0, 0.0, None, None, None, None, 0, 0)


@dataclass(frozen=True)
class Row:
    """A version: its row of the state, and its figures; None where nothing is counted."""

    state: dict[str, Any]
    figures: Figures | None

    def told(self) -> dict[str, Any]:
        """JSON-able."""
        state = self.state
        calls = ("default", "labels", "traffic", "shadow", "kept_until")
        kept = ("state", *calls, "executor", "device", "replicas", "reason")
        figures = asdict(self.figures) if self.figures else dict.fromkeys(asdict(NO_FIGURES))
        return {"model": state["name"], "version": state["called"]} | {key: state[key] for key in kept} | figures


@dataclass(frozen=True)
class Frame:
    """What is shown at once. `span_s` is what the figures tell of, 0 before the second look; `other_errors_per_s` are
    of requests for which no version of a row was found."""

    gateway: dict[str, Any]
    generation: int
    gateways: int | None
    span_s: float
    rows: tuple[Row, ...]
    other_errors_per_s: float
    rollouts: tuple[dict[str, Any], ...]
    ended_rollouts: tuple[dict[str, Any], ...]
    missing: str | None

    def told(self) -> dict[str, Any]:
        """JSON-able."""
        figures = [row.figures for row in self.rows if row.figures]
        return {
            "gateway": self.gateway,
            "generation": self.generation,
            "gateways": self.gateways,
            "span_s": round(self.span_s, 3),
            "requests_per_s": sum(each.requests_per_s for each in figures),
            "errors_per_s": sum(each.errors_per_s for each in figures) + self.other_errors_per_s,
            "other_errors_per_s": self.other_errors_per_s,
            "models": [row.told() for row in self.rows],
            "rollouts": list(self.rollouts),
            "ended_rollouts": list(self.ended_rollouts),
            "missing": self.missing,
        }


def make_frame(looks: Sequence[Look]) -> Frame:
    """Of at least one look: the newest state, and what was counted from the first to the last."""
    newest = looks[-1]
    first = next((each for each in looks if each.counts is not None), newest)
    span_s = newest.at - first.at
    counts, before = newest.counts, first.counts
    known = counts is not None and before is not None and span_s > 0

    def figures(called: Called) -> Figures | None:
        if not known or counts is None or before is None:
            return None
        return between(before.of(called), counts.of(called), span_s)

    rows = tuple(
        Row(row, figures((row["name"], row["called"])) if row["called"] else None) for row in newest.state["models"]
    )
    placed = {(row["name"], row["called"]) for row in newest.state["models"]}
    others = [figures(called) for called in (counts.versions if counts else ()) if called not in placed]
    return Frame(
        gateway=newest.state["gateway"],
        generation=newest.state["generation"],
        gateways=None if counts is None else counts.gateways,
        span_s=span_s if known else 0.0,
        rows=rows,
        other_errors_per_s=sum(each.errors_per_s for each in others if each),
        rollouts=tuple(newest.state.get("rollouts", ())),
        ended_rollouts=tuple(newest.state.get("ended_rollouts", ())),
        missing=newest.missing,
    )
