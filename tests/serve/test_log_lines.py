"""Log lines read back from text, kept within bounds, and selected."""

from __future__ import annotations

import pytest

from serve.log_lines import MAX_TEXT, LogLine, LogRing, parse_lines

TEXT = """\
  a rest of something
2026-01-02 03:04:05,678 WARNING gateway: heartbeat: the controller does not answer
2026-01-02 03:04:06,000 ERROR ranker-v3: failed
Traceback (most recent call last):
  ValueError: bad
2026-01-02 03:04:07,001 WARNING controller: model 'ranker': gone
"""


def line(number: int = 0, text: str = "x", process: str = "gateway") -> LogLine:
    return LogLine(float(number), "WARNING", process, text)


def texts(ring: LogRing, after: int = 0, since: float = 0.0, model: str | None = None, limit: int = 100) -> list[str]:
    return [found.text for found in ring.select(after, since, model, limit)]


def test_lines_are_read_with_the_tracebacks_below_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    first, second, third = parse_lines(TEXT)
    assert first.told() == {
        "time": "2026-01-02T03:04:05.678Z",
        "level": "WARNING",
        "process": "gateway",
        "text": "heartbeat: the controller does not answer",
    }
    assert (second.process, second.text) == (
        "ranker-v3",
        "failed\nTraceback (most recent call last):\n  ValueError: bad",
    )
    assert (third.level, third.text) == ("WARNING", "model 'ranker': gone")


def test_lines_of_json_are_read() -> None:
    lines = (
        '{"time":"2026-01-02T03:04:05.678Z","level":"WARNING","process":"gateway","text":"slow","request":"r1"}\n'
        '{"time":"2026-01-02T03:04:06Z","level":"ERROR","process":"m-v1","text":"failed","traceback":"Trace\\n  bad"}\n'
        '{"no": "line of ours"}\n'
    )
    first, second = parse_lines(lines)
    assert first == LogLine(1767323045.678, "WARNING", "gateway", "slow (request r1)")
    assert (second.process, second.text) == ("m-v1", 'failed\nTrace\n  bad\n{"no": "line of ours"}')


def test_a_line_without_end_is_cut() -> None:
    (found,) = parse_lines(f"2026-01-02 03:04:05,678 ERROR gateway: {'x' * 100_000}\n")
    assert len(found.text) == MAX_TEXT


@pytest.mark.parametrize(
    ("process", "text", "concerned"),
    [
        ("ranker-v3", "anything", True),
        ("ranker-v3-v1", "anything", False),
        ("ranker2-v3", "anything", False),
        ("gateway", "model 'ranker' failed", True),
        ("gateway", "version 3 of ranker: 2 replicas", True),
        ("gateway", "ranker.", True),
        ("gateway", "ranker2 failed", False),
        ("gateway", "my-ranker failed", False),
        ("gateway", "ranker.b failed", False),
        ("gateway", "nothing", False),
    ],
)
def test_a_model_is_concerned_by_its_replicas_and_its_name(process: str, text: str, concerned: bool) -> None:
    assert line(text=text, process=process).concerns("ranker") is concerned


def test_a_ring_is_asked_by_number_time_model_and_count() -> None:
    ring = LogRing(100)
    ring.extend(line(number, f"{number} {'a' if number % 2 else 'b'}") for number in range(6))
    assert ring.next_number == 106
    assert texts(ring, limit=2) == ["4 b", "5 a"]
    assert texts(ring, after=104) == ["4 b", "5 a"]
    assert texts(ring, after=106) == []
    assert texts(ring, since=3.0) == ["3 a", "4 b", "5 a"]
    assert texts(ring, model="a") == ["1 a", "3 a", "5 a"]
    assert texts(ring, limit=0) == []


def test_a_full_ring_drops_the_oldest_lines_and_goes_on_counting() -> None:
    ring = LogRing(0, max_lines=3)
    ring.extend(line(number, str(number)) for number in range(10))
    assert (texts(ring), ring.next_number) == (["7", "8", "9"], 10)
    assert texts(ring, after=9) == ["9"]
    assert texts(ring, after=2) == ["7", "8", "9"]


def test_a_ring_is_bounded_in_bytes_too() -> None:
    ring = LogRing(0, max_bytes=10)
    ring.extend([line(text="12345"), line(text="67890"), line(text="abcde")])
    assert texts(ring) == ["67890", "abcde"]
    ring.extend([line(text="longer than all of it")])
    assert texts(ring) == ["longer than all of it"]
