"""Guarded rollouts over simulated, seeded traffic: what is bad goes back each time, what is good gets all calls."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import msgspec
import numpy as np
import pytest

from serve.rollouts.comparison import Comparison
from serve.rollouts.figures import Figures, Sample, figures_of
from serve.rollouts.guard import Bounds, Decision, Evidence, Rollout, begin, judge
from serve.rollouts.histogram import Histogram, bucket_of
from serve.rollouts.observations import Observations, VersionCounters

SEEDS = range(200)
BOUNDS = Bounds(max_error_rate=0.01, max_latency_ratio=1.5, max_disagreement=0.005, max_hold_s=3600)
TICK_S = 5.0
RATE_PER_S = 200
COPIED = 0.1
"""Of the stable version's calls, for the canary to be compared."""

MEDIAN_NS = 5e6
SIGMA = 0.5
"""Of the latencies' logarithm: the slowest hundredth takes three times as long as the median."""


@dataclass
class Version:
    """What a simulated version is like."""

    errors: float = 0.001
    slower: float = 1.0
    disagrees: float = 0.0
    refuses: float = 0.0


@dataclass
class Counted:
    requests: int = 0
    failed: int = 0
    refused: int = 0
    latency: Histogram = field(default_factory=Histogram)

    def add(self, random: np.random.Generator, version: Version, calls: int) -> None:
        refused = int(random.binomial(calls, version.refuses)) if version.refuses else 0
        calls -= refused
        self.refused += refused
        failed = int(random.binomial(calls, version.errors))
        self.requests += calls
        self.failed += failed
        latencies = random.lognormal(np.log(MEDIAN_NS * version.slower), SIGMA, calls - failed).astype(np.int64)
        # A sixteenth of an octave, as the histogram's buckets; one call to it a bucket.
        steps, counts = np.unique(np.floor(np.log2(np.maximum(latencies, 1)) * 16), return_counts=True)
        for step, count in zip(steps.tolist(), counts.tolist(), strict=True):
            self.latency.add(int(2 ** ((step + 0.5) / 16)), count)


class Traffic:
    """Calls of a model, shared out over a stable version and its canary."""

    def __init__(self, seed: int, canary: Version, stable: Version | None = None) -> None:
        self.random = np.random.default_rng(seed)
        self.versions = stable or Version(), canary
        self.counted = Counted(), Counted()
        self.copies = self.failed_copies = self.disagreeing = 0

    def pass_time(self, percent: int) -> None:
        of_canary = int(self.random.binomial(int(RATE_PER_S * TICK_S), percent / 100))
        of_stable = int(RATE_PER_S * TICK_S) - of_canary
        for counted, version, calls in zip(self.counted, self.versions, (of_stable, of_canary), strict=True):
            counted.add(self.random, version, calls)
        copies = int(self.random.binomial(of_stable, COPIED))
        failed = int(self.random.binomial(copies, self.versions[1].errors))
        self.copies += copies
        self.failed_copies += failed
        self.disagreeing += int(self.random.binomial(copies - failed, self.versions[1].disagrees))

    def seen(self) -> Figures:
        stable, canary = (
            Sample(c.requests, c.failed, Histogram(dict(c.latency.counts)), refused=c.refused) for c in self.counted
        )
        return Figures(
            stable,
            msgspec.structs.replace(
                canary, copies=self.copies, failed_copies=self.failed_copies, disagreeing=self.disagreeing
            ),
        )


def rolled_out(traffic: Traffic, bounds: Bounds = BOUNDS) -> tuple[Decision, list[int], float]:
    """The last decision, the percents of the steps on the way, and when it came."""
    now_s = 1_000.0
    rollout = begin("m", 1, 2, bounds, traffic.seen(), now_s)
    percents = [rollout.percent]
    while True:
        traffic.pass_time(rollout.percent)
        now_s += TICK_S
        decision, rollout = judge(rollout, traffic.seen(), now_s)
        if decision.action == "advance":
            percents.append(decision.percent)
        elif decision.action != "hold":
            return decision, percents, now_s - 1_000.0


@pytest.mark.parametrize(
    ("canary", "what"),
    [
        (Version(disagrees=0.01), "disagreement"),
        (Version(slower=2.0), "latency"),
        (Version(errors=0.02), "errors"),
        (Version(refuses=0.1), "refusals"),
    ],
    ids=["one_percent_wrong_classes", "twice_the_latency", "two_percent_errors", "ten_percent_refused"],
)
def test_a_bad_version_goes_back_for_each_of_200_seeds(canary: Version, what: str) -> None:
    outcomes = Counter[str]()
    shares = Counter[int]()
    for seed in SEEDS:
        decision, percents, _ = rolled_out(Traffic(seed, canary))
        outcomes[decision.action] += 1
        shares[percents[-1]] += 1
        assert any(each.what.startswith(what) and each.verdict == "past" for each in decision.evidence)
        assert what in decision.reason
        assert decision.percent == 0
    assert outcomes == {"roll back": len(SEEDS)}
    # Nearly always before a tenth of the callers have met it.
    assert shares[1] >= 0.95 * len(SEEDS)


@pytest.mark.parametrize(
    ("canary", "stable"),
    [
        (Version(), Version()),
        (Version(errors=0.0), Version(errors=0.0)),
        (Version(errors=0.03), Version(errors=0.03)),
        (Version(slower=0.5), Version()),
        (Version(refuses=0.3), Version(refuses=0.3)),
    ],
    ids=["equal", "without_errors", "both_with_errors_of_their_own", "faster", "callers_send_much_that_is_wrong"],
)
def test_a_good_version_gets_all_calls_for_nearly_each_of_200_seeds(canary: Version, stable: Version) -> None:
    finished = 0
    for seed in SEEDS:
        decision, percents, _ = rolled_out(Traffic(seed, canary, stable))
        finished += decision.action == "finish" and percents == [1, 10, 50, 100]
    assert finished >= 0.99 * len(SEEDS)


# -- rules, one by one -----------------------------------------------------------------------------------------------


def latency(ms: float, count: int) -> Histogram:
    return Histogram({bucket_of(int(ms * 1e6)): count})


def sample(requests: int, failed: int = 0, ms: float = 5.0, **copies: int) -> Sample:
    return Sample(requests, failed, latency(ms, requests - failed), **copies)


def started(bounds: Bounds, step: int = 0) -> Rollout:
    return msgspec.structs.replace(begin("m", 1, 2, bounds, Figures(), 0.0), step=step)


def decided(bounds: Bounds, seen: Figures, now_s: float = 100.0, step: int = 0) -> Decision:
    return judge(started(bounds, step), seen, now_s)[0]


GOOD = Figures(sample(100_000), sample(2_000))


def test_a_step_takes_its_time_even_when_all_is_well() -> None:
    decision = decided(BOUNDS_WITHOUT_COMPARISON, GOOD, 59.0)
    assert (decision.action, decision.percent) == ("hold", 1)
    decision = decided(BOUNDS_WITHOUT_COMPARISON, GOOD, 60.0)
    assert (decision.action, decision.percent) == ("advance", 10)
    assert decision.reason == "all bounds are kept, by 2000 calls in 60 s"


BOUNDS_WITHOUT_COMPARISON = Bounds()


def test_a_step_takes_its_calls_too() -> None:
    bounds = Bounds(max_error_rate=None, max_latency_ratio=None, min_requests=100)
    decision = decided(bounds, Figures(sample(10_000), sample(99)))
    assert (decision.action, decision.reason) == ("hold", "not decided yet: 99 of 100 calls")
    assert decided(bounds, Figures(sample(10_000), sample(100))).action == "advance"


def test_few_calls_decide_nothing_though_they_all_went_well() -> None:
    decision = decided(BOUNDS_WITHOUT_COMPARISON, Figures(sample(10_000), sample(150)))
    assert (decision.action, decision.reason) == ("hold", "not decided yet: errors")


def test_two_errors_of_five_calls_prove_nothing() -> None:
    assert decided(BOUNDS_WITHOUT_COMPARISON, Figures(sample(10_000), sample(5, 2))).action == "hold"
    assert decided(BOUNDS_WITHOUT_COMPARISON, Figures(sample(10_000), sample(50, 20))).action == "roll back"


def test_what_stays_undecided_goes_back() -> None:
    bounds = Bounds(max_hold_s=600)
    seen = Figures(sample(10_000), sample(150))
    assert decided(bounds, seen, 600.0).action == "hold"
    decision = decided(bounds, seen, 601.0)
    assert (decision.action, decision.percent) == ("roll back", 0)
    assert decision.reason == "still undecided after 601 s: errors"


def test_errors_that_the_stable_version_has_too_are_not_the_canary_s() -> None:
    assert decided(Bounds(), Figures(sample(100_000, 5_000), sample(20_000, 1_000))).action == "advance"
    assert decided(Bounds(), Figures(sample(100_000, 100), sample(20_000, 1_000))).action == "roll back"


def test_calls_that_only_the_canary_refuses_are_errors_of_it() -> None:
    seen = Figures(sample(100_000, refused=1_000), sample(2_000, refused=200))
    decision = decided(Bounds(), seen)
    assert decision.action == "roll back"
    assert decision.reason == ("refusals: 9.09% (stable 0.99%), 5.93% to 9.4% more by 2200 calls; bound 1%: past")
    assert decided(Bounds(max_error_rate=0.2), seen).action == "advance"


def test_calls_that_both_versions_refuse_are_their_callers_fault() -> None:
    assert decided(Bounds(), Figures(sample(100_000, refused=50_000), sample(2_000, refused=1_020))).action == "advance"


def test_a_canary_that_refuses_every_call_goes_back_at_once() -> None:
    assert decided(Bounds(), Figures(sample(1_000), sample(0, refused=20)), 5.0).action == "roll back"


def test_few_refusals_keep_nobody_waiting() -> None:
    assert decided(Bounds(), Figures(sample(100_000), sample(2_000, refused=25))).action == "advance"


def test_wrong_calls_of_a_time_when_the_stable_version_has_none_tell_nothing() -> None:
    before = Figures(sample(100_000), sample(50_000))
    rollout = msgspec.structs.replace(started(Bounds(), 3), at_step=before)
    after = Figures(sample(100_000), sample(70_000, refused=20_000))
    assert judge(rollout, after, 100.0)[0].action == "finish"


def test_errors_of_copies_count() -> None:
    seen = Figures(sample(100_000), sample(2_000, copies=5_000, failed_copies=500))
    decision = decided(Bounds(), seen)
    assert decision.action == "roll back"
    assert decision.reason == ("errors: 7.14% (stable 0%), 6.27% to 7.78% more by 7000 calls; bound 1%: past")


def test_the_last_step_is_held_against_what_the_stable_version_was() -> None:
    bounds = Bounds()
    before = Figures(sample(100_000), sample(50_000))
    rollout = msgspec.structs.replace(started(bounds, 3), at_step=before)
    after = Figures(sample(100_000), sample(70_000))
    decision, _ = judge(rollout, after, 100.0)
    assert (decision.action, decision.percent) == ("finish", 100)
    slower = Histogram(dict(before.canary.latency.counts))
    slower.merge(latency(11, 20_000))
    after = Figures(after.stable, msgspec.structs.replace(after.canary, latency=slower))
    assert judge(rollout, after, 100.0)[0].action == "roll back"


def test_only_what_came_in_this_step_speaks_for_its_share() -> None:
    """At half of the traffic the canary can't keep up, though it did well with little."""
    rollout = msgspec.structs.replace(
        started(Bounds(), 2), at_step=Figures(sample(1_000_000), sample(100_000)), since_s=50.0
    )
    canary = sample(100_000)
    canary.latency.merge(latency(20, 2_000))
    seen = Figures(sample(1_002_000), msgspec.structs.replace(canary, requests=102_000))
    decision, _ = judge(rollout, seen, 100.0)
    assert (decision.action, decision.since_s) == ("roll back", 50.0)


def test_bounds_that_are_not_set_are_not_judged() -> None:
    bounds = Bounds(max_error_rate=None, max_latency_ratio=None, max_disagreement=None)
    decision = decided(bounds, Figures(sample(100), sample(100, 100)))
    assert (decision.action, decision.evidence) == ("advance", ())


def test_evidence_says_what_was_seen() -> None:
    seen = Figures(sample(100_000), sample(2_000, copies=1_000, disagreeing=100))
    decision = decided(Bounds(max_error_rate=None, max_latency_ratio=None, max_disagreement=0.05), seen)
    [evidence] = decision.evidence
    assert (evidence.low, evidence.high) == pytest.approx((0.07501, 0.12060), abs=1e-5)
    rounded = msgspec.structs.replace(evidence, low=0.075, high=0.12)
    assert rounded == Evidence("disagreement", 0.1, None, 0.075, 0.12, 0.05, 1000, "past")
    assert decision.reason == "disagreement: 10%, 7.5% to 12.1% by 1000 calls; bound 5%: past"


# -- a controller that dies ------------------------------------------------------------------------------------------


def test_a_rollout_is_plain_data_and_goes_on_where_it_was() -> None:
    rollout = msgspec.structs.replace(started(BOUNDS, 2), at_step=GOOD, since_s=40.0)
    kept = msgspec.json.decode(msgspec.json.encode(rollout), type=Rollout)
    assert kept == rollout
    seen = Figures(sample(200_000), sample(9_000, copies=9_000))
    assert judge(kept, seen, 100.0) == judge(rollout, seen, 100.0)
    assert judge(kept, seen, 100.0)[0].percent == 100


def test_figures_that_shrank_begin_the_step_anew() -> None:
    rollout = msgspec.structs.replace(started(Bounds(), 1), at_step=GOOD, since_s=40.0)
    less = Figures(sample(500), sample(20))
    decision, after = judge(rollout, less, 100.0)
    assert (decision.action, decision.percent, decision.since_s) == ("hold", 10, 100.0)
    assert (after.step, after.since_s, after.at_step) == (1, 100.0, less)


def test_refusals_that_shrank_begin_the_step_anew() -> None:
    at_step = Figures(sample(500), sample(20, refused=5))
    rollout = msgspec.structs.replace(started(Bounds(), 1), at_step=at_step, since_s=40.0)
    assert judge(rollout, Figures(sample(500), sample(20, refused=4)), 100.0)[0].since_s == 100.0


def test_figures_are_taken_from_what_gateways_have_seen() -> None:
    seen = Observations(
        {
            ("m", 1): VersionCounters(90, {"InternalError": 2}, refused=9),
            ("m", 2): VersionCounters(10, {"Overloaded": 1}, refused=4),
        },
        {("m", 1, 2): Comparison(0, compared=40, agreeing=30, failures={"ModelNotReady": 4, "InternalError": 1})},
    )
    assert figures_of(seen, "m", 1, 2) == Figures(
        Sample(90, 2, refused=9), Sample(10, 1, copies=45, failed_copies=5, disagreeing=10, refused=4)
    )
    assert figures_of(Observations(), "m", 1, 2) == Figures()


def test_latencies_are_told_in_milliseconds_and_as_a_ratio() -> None:
    seen = Evidence("latency p50", 0.0881, 0.0922, 0.8696, 1.0914, 1.5, 47, "kept")
    assert seen.text() == (
        "latency p50: 0.0881 ms (stable 0.0922 ms), 0.87 to 1.09 times as long by 47 calls; bound 1.5: kept"
    )
    early = msgspec.structs.replace(seen, low=0.0, high=None, verdict="undecided")
    assert early.text() == (
        "latency p50: 0.0881 ms (stable 0.0922 ms), at least 0 times as long by 47 calls; bound 1.5: undecided"
    )
