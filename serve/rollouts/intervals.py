"""Between what a rate lies of which only a sample was seen."""

from __future__ import annotations

import math


def wilson(hits: int, trials: int, deviations: float) -> tuple[float, float]:
    """Wilson's score interval of a rate, `deviations` standard deviations to either side; (0, 1) without trials.

    Unlike the plain one it is right for rates near 0 and for few trials. E. B. Wilson, J. Am. Stat. Assoc. 22 (1927).
    """
    if not trials:
        return 0.0, 1.0
    rate, spread = hits / trials, deviations**2 / trials
    middle = rate + spread / 2
    width = deviations * math.sqrt(rate * (1 - rate) / trials + spread / (4 * trials))
    low, high = (middle - width) / (1 + spread), (middle + width) / (1 + spread)
    # Rounding must not leave a rate outside that was never, or always, seen.
    return (0.0 if not hits else low), (1.0 if hits == trials else high)


def excess(hits: int, trials: int, other_hits: int, other_trials: int, deviations: float) -> tuple[float, float]:
    """By how much a rate is above another: Newcombe's interval of the difference, from both Wilson intervals.

    R. G. Newcombe, Statistics in Medicine 17 (1998), method 10.
    """
    rate = hits / trials if trials else 0.5
    other = other_hits / other_trials if other_trials else 0.5
    low, high = wilson(hits, trials, deviations)
    other_low, other_high = wilson(other_hits, other_trials, deviations)
    difference = rate - other
    return (
        difference - math.hypot(rate - low, other_high - other),
        difference + math.hypot(high - rate, other - other_low),
    )
