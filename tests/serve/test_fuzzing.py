"""Inputs that nobody meant, for every dialect and decoder: answered or refused, soon, in bounded memory.

`make fuzz` sends 100,000 to each; here it is the same few every time.
"""

from __future__ import annotations

import pytest

from tests.serve.fuzzing.dialects import DIALECTS
from tests.serve.fuzzing.tallies import Document, problems
from tests.serve.fuzzing.workers import run_worker

COUNT = 1500
NAMES = list(DIALECTS)


def total(tally: Document, *told: str) -> int:
    return sum(tally["told"].get(each, 0) for each in told)


@pytest.mark.parametrize("names", [NAMES[::2], NAMES[1::2]], ids=" ".join)
def test_what_nobody_meant_is_answered_or_refused(names: list[str]) -> None:
    tallies = run_worker(names, "both", COUNT, start=1)
    assert {tally["dialect"]: found for tally in tallies if (found := problems(tally))} == {}
    assert [tally["dialect"] for tally in tallies] == names
    for tally in tallies:
        assert tally["inputs"] >= COUNT
        # Neither is all refused, nor is all right.
        assert total(tally, "200", "OK") > 50, tally
        assert total(tally, "400", "INVALID_ARGUMENT", "reset PROTOCOL_ERROR") > 50, tally
