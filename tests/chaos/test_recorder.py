"""The recorder finds what it is there to find."""

from __future__ import annotations

import pytest

from tests.chaos import recorder as module
from tests.chaos.recorder import ABSENT, Call, Gap, Recorder


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the recorder reads; to be set by the test."""
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def _recorder(clock: list[float]) -> Recorder:
    """Version 1, factor 2, until a change that begins at 10 and is over at 20; then version 2, factor 3."""
    recorder = Recorder()
    timeline = recorder.timeline("m")
    timeline.settle({2.0})
    clock[0] = 10.0
    timeline.allow({3.0})
    clock[0] = 20.0
    timeline.settle({3.0})
    return recorder


@pytest.mark.parametrize(
    ("sent", "answered", "factor", "right"),
    [
        (1.0, 2.0, 2.0, True),
        (1.0, 2.0, 3.0, False),
        (11.0, 12.0, 2.0, True),
        (11.0, 12.0, 3.0, True),
        (9.0, 11.0, 3.0, True),
        (19.0, 25.0, 2.0, True),
        (21.0, 25.0, 2.0, False),
        (21.0, 25.0, 3.0, True),
        (21.0, 25.0, 4.0, False),
    ],
)
def test_answer_is_right_when_its_version_could_answer_between_sending_and_answer(
    clock: list[float], sent: float, answered: float, factor: float, right: bool
) -> None:
    recorder = _recorder(clock)
    recorder.note(Call("m", sent, answered, factor, "1"))
    verdict = recorder.verdict()
    assert (verdict.passed, len(verdict.wrong), verdict.failed) == (right, 0 if right else 1, [])


def test_two_factors_under_one_version_are_wrong(clock: list[float]) -> None:
    recorder = _recorder(clock)
    recorder.note(Call("m", 11.0, 12.0, 2.0, "1"))
    recorder.note(Call("m", 11.0, 12.0, 3.0, "1"))
    assert [call.outcome for call in recorder.verdict().wrong] == [3.0]


def test_error_is_a_failure_unless_the_model_was_retired(clock: list[float]) -> None:
    recorder = _recorder(clock)
    recorder.note(Call("m", 21.0, 22.0, ABSENT))
    assert [call.outcome for call in recorder.verdict().failed] == [ABSENT]
    clock[0] = 30.0
    recorder.timeline("m").allow({ABSENT})
    recorder.note(Call("m", 31.0, 32.0, ABSENT))
    assert len(recorder.verdict().failed) == 1


def test_longest_gap_names_what_was_done_before_its_end(clock: list[float]) -> None:
    recorder = _recorder(clock)
    for answered in (1.0, 1.5, 4.0, 4.2):
        recorder.note(Call("m", answered - 0.1, answered, 2.0, "1"))
    clock[0] = 2.0
    recorder.note_event("a kill")
    clock[0] = 5.0
    recorder.note_event("another one")
    assert recorder.verdict().gaps == {"m": Gap(2.5, "a kill")}


def test_no_calls_prove_nothing(clock: list[float]) -> None:
    assert not _recorder(clock).verdict().passed
