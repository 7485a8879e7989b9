"""The busy share between two looks."""

from __future__ import annotations

from serve.metrics.busy import BusyShare


def test_the_share_is_of_the_time_since_the_last_look() -> None:
    now = [10.0]
    busy = BusyShare(lambda: now[0])
    shares = []
    for passed_s, busy_s in ((1, 0.25), (2, 1.25), (1, 1.25), (1, 9.0), (0, 9.0)):
        now[0] += passed_s
        shares.append(busy.since_last(busy_s))
    assert shares == [0.25, 0.5, 0.0, 1.0, 0.0]
