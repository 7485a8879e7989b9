"""Whether a canary goes a step further, waits, or goes back: decided from what gateways have counted and compared.

Pure logic: no clock, no store, no table. A bound is passed, or kept, only where the interval around what was seen says
so; as long as neither is known the canary waits, and what stays undecided goes back. Who gives a version its share is
not decided here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from serve.config_sections.rollout import RolloutConfig
from serve.rollouts.figures import Figures, Sample
from serve.rollouts.histogram import Histogram
from serve.rollouts.intervals import excess, wilson

PAST_DEVIATIONS = 3.0
"""A bound is passed where the interval of so many standard deviations lies beyond it: a version that is just within it
may go back by chance, one that is well within does not."""

FEWEST_HITS = 3
"""Fewer errors, or other answers, prove nothing: for one or two in a handful of calls the intervals are too narrow."""

KEPT_DEVIATIONS = 2.0
"""It is kept where the interval of so many lies within."""

REFUSED_DEVIATIONS = 4.0
"""Of refused calls the bound is passed where the interval of so many lies beyond it. Callers may send any share of
wrong ones: where it is three in ten, three deviations send 2 to 5 of 100 good versions back, four less than one."""

LATENCY = "latency "
LATENCY_QUANTILES = {"p50": 0.5, "p95": 0.95}

Verdict = Literal["kept", "past", "undecided"]
Action = Literal["hold", "advance", "finish", "roll back"]


class Bounds(msgspec.Struct, frozen=True):
    """What a canary is held to, and its steps. A bound of None is none.

    `steps` are percents of traffic, rising to 100; each takes at least `step_s` and `min_requests` answered by the
    canary, and at most `max_hold_s`. `max_error_rate` is by how much its share of failed calls, and of refused
    ones, may exceed the stable version's, `max_latency_ratio` how many times as long it may take, in the median and for
    the slowest twentieth, `max_disagreement` the share of compared calls that it may answer otherwise.
    """

    steps: tuple[int, ...] = (1, 10, 50, 100)
    step_s: float = 60.0
    min_requests: int = 100
    max_error_rate: float | None = 0.01
    max_latency_ratio: float | None = 1.5
    max_disagreement: float | None = None
    max_hold_s: float = 3600.0


def bounds_of(asked: RolloutConfig) -> Bounds:
    """As a model's config has them."""
    return Bounds(**asked.model_dump(exclude={"steps", "compare_percent"}), steps=tuple(asked.steps))


class Evidence(msgspec.Struct, frozen=True):
    """One bound and what was seen of it: the canary's figure and the stable version's, between what (`low`, `high`) the
    figure that is bounded lies, and in how many calls of the canary that was seen."""

    what: str
    canary: float
    stable: float | None
    low: float
    high: float | None
    bound: float
    requests: int
    verdict: Verdict

    def text(self) -> str:
        """As people read it: `errors: 2.1% (stable 0.1%), 1.4% to 2.6% more by 1800 calls; bound 1%: past`."""
        timed = self.what.startswith(LATENCY)
        figure, bounded = (_milliseconds, _ratio_text) if timed else (_percent, _percent)
        stable = "" if self.stable is None else f" (stable {figure(self.stable)})"
        reach = bounded(self.low) if self.high is None else f"{bounded(self.low)} to {bounded(self.high)}"
        than = " times as long" if timed else " more" if stable else ""
        return (
            f"{self.what}: {figure(self.canary)}{stable}, {'at least ' if self.high is None else ''}{reach}{than} "
            f"by {self.requests} calls; bound {bounded(self.bound)}: {self.verdict}"
        )


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%"


def _milliseconds(ms: float) -> str:
    return f"{ms:.3g} ms"


def _ratio_text(ratio: float) -> str:
    return f"{ratio:.3g}"


class Rollout(msgspec.Struct, frozen=True):
    """How far a canary is; plain data, so that whoever comes after a controller that died goes on from here.

    `began_s` and `since_s` are when the rollout and its present step began, in seconds since 1970, `before` and
    `at_step` what had been seen then.
    """

    model: str
    stable: int
    canary: int
    bounds: Bounds
    began_s: float
    since_s: float
    before: Figures
    at_step: Figures
    step: int = 0

    @property
    def percent(self) -> int:
        """The canary's share now."""
        return self.bounds.steps[self.step]


class Decision(msgspec.Struct, frozen=True):
    """What is to be done, why, and what was seen. `percent` is the canary's share from now on."""

    action: Action
    percent: int
    reason: str
    evidence: tuple[Evidence, ...]
    since_s: float


def begin(model: str, stable: int, canary: int, bounds: Bounds, seen: Figures, now_s: float) -> Rollout:
    """A rollout at its first step; `seen` is what was counted before it."""
    return Rollout(model, stable, canary, bounds, now_s, now_s, seen, seen)


def judge(rollout: Rollout, seen: Figures, now_s: float) -> tuple[Decision, Rollout]:
    """What to do by what has been `seen` until now, and the rollout as it is after that. A rollout that has ended, by
    `finish` or `roll back`, is not to be judged again."""
    if not seen.covers(rollout.at_step):
        # A new controller does not know what gateways have seen that are gone: the step begins anew.
        rollout = msgspec.structs.replace(rollout, since_s=now_s, before=seen, at_step=seen)
    evidence = tuple(_evidence(rollout, seen))
    action, reason = _verdict(rollout, seen, evidence, now_s)
    percent = {"roll back": 0, "advance": rollout.bounds.steps[min(rollout.step + 1, len(rollout.bounds.steps) - 1)]}
    decision = Decision(action, percent.get(action, rollout.percent), reason, evidence, rollout.since_s)
    if action == "advance":
        rollout = msgspec.structs.replace(rollout, step=rollout.step + 1, since_s=now_s, at_step=seen)
    return decision, rollout


def _verdict(rollout: Rollout, seen: Figures, evidence: tuple[Evidence, ...], now_s: float) -> tuple[Action, str]:
    bounds, elapsed_s = rollout.bounds, now_s - rollout.since_s
    if past := [each for each in evidence if each.verdict == "past"]:
        return "roll back", "; ".join(each.text() for each in past)
    answered = seen.canary.requests - rollout.at_step.canary.requests
    undecided = [each.what for each in evidence if each.verdict == "undecided"]
    if answered >= bounds.min_requests and not undecided:
        if elapsed_s < bounds.step_s:
            return "hold", f"all bounds are kept; the step takes {bounds.step_s:g} s"
        last = rollout.step == len(bounds.steps) - 1
        return ("finish" if last else "advance"), f"all bounds are kept, by {answered} calls in {elapsed_s:.0f} s"
    missing = f"{answered} of {bounds.min_requests} calls" if answered < bounds.min_requests else ", ".join(undecided)
    if elapsed_s > bounds.max_hold_s:
        return "roll back", f"still undecided after {elapsed_s:.0f} s: {missing}"
    return "hold", f"not decided yet: {missing}"


def _evidence(rollout: Rollout, seen: Figures) -> Iterator[Evidence]:
    bounds = rollout.bounds
    whole, step = seen.since(rollout.before), seen.since(rollout.at_step)
    # Once the canary has all calls, or nearly, the stable version is as it was before.
    stable = step.stable if step.stable.requests >= bounds.min_requests else whole.stable
    if bounds.max_error_rate is not None:
        yield _errors(stable, step.canary, bounds.max_error_rate)
        yield _refusals(step.stable, step.canary, bounds.max_error_rate)
    if bounds.max_latency_ratio is not None:
        for name, share in LATENCY_QUANTILES.items():
            yield _latency(name, share, stable.latency, step.canary.latency, bounds.max_latency_ratio)
    if bounds.max_disagreement is not None:
        # Whole: how it answers does not depend on its share, and with a growing one ever less is compared.
        yield _disagreement(whole.canary, bounds.max_disagreement)


def _errors(stable: Sample, canary: Sample, bound: float) -> Evidence:
    trials, failed = canary.requests + canary.copies, canary.failed + canary.failed_copies
    low = excess(failed, trials, stable.failed, stable.requests, PAST_DEVIATIONS)[0]
    high = excess(failed, trials, stable.failed, stable.requests, KEPT_DEVIATIONS)[1]
    rates = failed / max(trials, 1), stable.failed / max(stable.requests, 1)
    return Evidence("errors", *rates, low, high, bound, trials, _side(low, high, bound, failed))


def _refusals(stable: Sample, canary: Sample, bound: float) -> Evidence:
    """Calls refused for their caller's fault. Callers share them out evenly, so that those of the same time tell a
    version that refuses what the other takes; where there are none they tell nothing. Callers who send much that is
    wrong are to keep no rollout waiting, so that what is not surely past counts as kept."""
    trials, others = canary.requests + canary.refused, stable.requests + stable.refused
    low = excess(canary.refused, trials, stable.refused, others, REFUSED_DEVIATIONS)[0]
    high = excess(canary.refused, trials, stable.refused, others, KEPT_DEVIATIONS)[1]
    rates = canary.refused / max(trials, 1), stable.refused / max(others, 1)
    verdict: Verdict = "past" if _side(low, high, bound, canary.refused) == "past" else "kept"
    return Evidence("refusals", *rates, low, high, bound, trials, verdict)


def _latency(name: str, share: float, stable: Histogram, canary: Histogram, bound: float) -> Evidence:
    """Medians and other quantiles in milliseconds, their ratio as what is bounded."""
    low = _ratio(canary, stable, share, PAST_DEVIATIONS)[0]
    high = _ratio(canary, stable, share, KEPT_DEVIATIONS)[1]
    told = None if high == float("inf") else high
    seen = (canary.quantile(share) or 0.0) / 1e6, (stable.quantile(share) or 0.0) / 1e6
    return Evidence(f"{LATENCY}{name}", *seen, low, told, bound, canary.count, _side(low, high, bound))


def _ratio(canary: Histogram, stable: Histogram, share: float, deviations: float) -> tuple[float, float]:
    of_canary, of_stable = canary.interval(share, deviations), stable.interval(share, deviations)
    if of_canary is None or of_stable is None:
        return 0.0, float("inf")
    return of_canary[0] / max(of_stable[1], 1.0), of_canary[1] / max(of_stable[0], 1.0)


def _disagreement(canary: Sample, bound: float) -> Evidence:
    compared = canary.copies - canary.failed_copies
    low = wilson(canary.disagreeing, compared, PAST_DEVIATIONS)[0]
    high = wilson(canary.disagreeing, compared, KEPT_DEVIATIONS)[1]
    rate = canary.disagreeing / max(compared, 1)
    return Evidence("disagreement", rate, None, low, high, bound, compared, _side(low, high, bound, canary.disagreeing))


def _side(low: float, high: float, bound: float, hits: int = FEWEST_HITS) -> Verdict:
    if low > bound and hits >= FEWEST_HITS:
        return "past"
    return "kept" if high <= bound else "undecided"
