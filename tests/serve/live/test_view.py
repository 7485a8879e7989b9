"""What a frame looks like, and what keys do to it."""

from __future__ import annotations

import pytest
from rich.console import Console

from serve.live.counts import read_counts
from serve.live.looks import Frame, Look, make_frame
from serve.live.view import ORDERS, View, draw
from tests.serve.live.recorded import STATE, metrics, row


def look(at: float, text: str | None, missing: str | None = None, **state: object) -> Look:
    return Look(at, STATE | state, None if text is None else read_counts(text), missing)


def frame() -> Frame:
    before = look(10.0, metrics(digits=100, slow=40, errors=4, unknown=5))
    return make_frame([before, look(15.0, metrics(digits=600, slow=80, errors=14, unknown=15))])


def shown(frame: Frame, view: View, height: int | None = None) -> list[str]:
    console = Console(width=200, color_system=None)
    with console.capture() as capture:
        console.print(draw(frame, view, height, 200))
    return [line.rstrip() for line in capture.get().splitlines()]


def models(lines: list[str]) -> list[str]:
    start = next(number for number, line in enumerate(lines) if line.startswith("MODEL")) + 1
    return [line.split()[0] for line in lines[start:] if line and line.split()[0] in ("digits", "ranker", "new")]


def test_a_frame_shows_state_and_figures() -> None:
    lines = shown(frame(), View())
    assert lines[0] == (
        "http://127.0.0.1:8080  generation 3  2 gateways  208 requests/s  4 errors/s (2 where no version was found)  "
        "over 5 s"
    )
    assert "|".join(lines[1].split()) == (
        "MODEL|VERSION|STATE|TRAFFIC|REQ/S|ERR/S|P50|MS|P99|MS|BATCH|FILL|QUEUE|IN|FLIGHT|REPLICAS|WHY"
    )
    assert [line.split() for line in lines[2:]] == [
        ["digits", "1", "READY", "100%", "200", "0", "0.5", "0.99", "0", "0", "inline"],
        ["ranker", "b", "READY", "90%", "8", "2", "15", "19.9", "4", "50%", "21", "7", "1/2"],
        ["new", "FAILED", "no", "such", "[file]"],
    ]


def test_a_narrow_terminal_gets_whole_numbers_of_fewer_columns() -> None:
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        console.print(draw(frame(), View(), 24, 80))
    lines = [line.split() for line in capture.get().splitlines()[2:5]]
    assert "|".join(lines[0][:10]) == "MODEL|VERSION|STATE|REQ/S|ERR/S|P50|MS|P99|MS|FILL"
    assert lines[2][:10] == ["ranker", "b", "READY", "8", "2", "15", "19.9", "50%", "21", "7"]


def test_a_long_reason_takes_lines_in_a_single_frame_and_is_cut_in_the_live_one() -> None:
    state = {"models": [row("digits"), row("broken", state="FAILED", reason="a reason " * 40)]}
    failed = make_frame([look(1.0, None, **state)])
    whole = shown(failed, View())
    assert [line.split()[:3] for line in whole if line.split()[0] in ("digits", "broken")] == [
        ["digits", "1", "READY"],
        ["broken", "1", "FAILED"],
    ]
    assert " ".join(whole).count("reason") == 40
    assert len(shown(failed, View(), 10)) == 6


def test_a_single_look_has_no_figures() -> None:
    told = make_frame([look(10.0, metrics(digits=100, slow=40, errors=4, unknown=5))]).told()
    assert (told["span_s"], told["requests_per_s"], told["models"][0]["requests_per_s"]) == (0.0, 0, None)


def test_without_counts_the_state_is_shown_with_the_reason() -> None:
    lines = shown(make_frame([look(1.0, None, "no figures: Forbidden")] * 2), View())
    assert lines[1] == "no figures: Forbidden"
    assert lines[3].split() == ["digits", "1", "READY", "100%", "inline"]


def test_rollouts_are_told() -> None:
    rollout = {"model": "ranker", "stable": 3, "canary": 4, "state": "on", "percent": 10, "steps": [10, 100]}
    lines = shown(make_frame([look(1.0, None, rollouts=[rollout | {"reason": "not judged yet"}])]), View())
    assert lines[1] == "ranker: rollout of version 4 for 3: at 10% (steps 10, 100): not judged yet"


def test_a_version_that_was_sent_back_is_told_as_long_as_that_holds() -> None:
    ended = {"model": "ranker", "stable": 3, "canary": 4, "state": "went back", "ended": "noon", "reason": "errors"}
    told = make_frame([look(1.0, None, ended_rollouts=[ended | {"holds": True}, ended | {"holds": False}])])
    assert [line for line in shown(told, View()) if "rollout" in line] == [
        "ranker: rollout of version 4 for 3: went back at noon: errors"
    ]
    assert [each["holds"] for each in told.told()["ended_rollouts"]] == [True, False]


def test_programs_are_told_of_copies_and_of_what_is_kept() -> None:
    models = [row("shadow", shadow=2.5, traffic=0), row("kept", kept_until="noon", traffic=0)]
    told = make_frame([look(1.0, None, models=models)]).told()["models"]
    assert [(each["shadow"], each["kept_until"]) for each in told] == [(2.5, None), (None, "noon")]


@pytest.mark.parametrize(
    ("presses", "expected"),
    [
        ("", ["digits", "ranker", "new"]),
        ("r", ["new", "ranker", "digits"]),
        ("s", ["digits", "ranker", "new"]),
        ("sr", ["new", "ranker", "digits"]),
        ("ss", ["ranker", "digits", "new"]),
        ("/n\r", ["ranker", "new"]),
        ("/NEW\r", ["new"]),
        ("/x\x7fdig", ["digits"]),
        ("/sq\x7f\x7f\r", ["digits", "ranker", "new"]),
    ],
)
def test_keys_order_and_filter(presses: str, expected: list[str]) -> None:
    view = View()
    for key in presses:
        view.press(key)
    assert models(shown(frame(), view)) == expected
    assert not view.ended


def test_escape_leaves_the_filter_as_it_was() -> None:
    view = View(wanted="dig")
    for key in ("/", "x", "escape"):
        view.press(key)
    assert (view.wanted, view.typing) == ("dig", None)


def test_orders_come_round_and_q_ends() -> None:
    view = View()
    seen = []
    for _ in ORDERS:
        seen.append(view.order)
        view.press("s")
    assert (seen, view.order) == (list(ORDERS), "config")
    view.press("q")
    assert view.ended


def test_many_models_are_cut_to_the_height_and_moved_through() -> None:
    rows = [row(f"m{number}") for number in range(30)]
    many, view = make_frame([look(1.0, None, models=rows)]), View()
    lines = shown(many, view, 10)
    assert len(lines) == 10
    assert [line.split()[0] for line in lines[3:9]] == ["m0", "m1", "m2", "m3", "m4", "m5"]
    assert lines[-1].startswith("1 to 6 of 30   order: config   q ends")
    for _ in range(100):
        view.press("down")
    assert shown(many, view, 10)[-1].startswith("25 to 30 of 30")
    view.press("k")
    assert shown(many, view, 10)[-1].startswith("24 to 29 of 30")
