"""The signals that end a gateway."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from serve.launch.stop_signal import StopSignal


@pytest.fixture
def stop_signal() -> Iterator[StopSignal]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield StopSignal()
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_an_event(stop_signal: StopSignal, number: signal.Signals) -> None:
    assert (stop_signal.came, stop_signal.wait(0)) == (False, False)
    signal.raise_signal(number)
    assert (stop_signal.came, stop_signal.wait(0)) == (True, True)


def test_a_second_signal_ends_the_process_at_once(stop_signal: StopSignal) -> None:
    signal.raise_signal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_signals_that_somebody_else_took_over_are_taken_back(stop_signal: StopSignal) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    stop_signal.install()
    signal.raise_signal(signal.SIGTERM)
    assert stop_signal.came is True
