"""Tables of the commands."""

from __future__ import annotations

from typing import Any

import pytest

from serve.commands.tables import console, headed, model_table

HTTP = "http://127.0.0.1:8080"
NO_VERSION = dict.fromkeys(("version", "called", "framework", "runtime", "max_rel_error", "executor"))


def row(name: str, **told: Any) -> dict[str, Any]:
    """What the state tells of a model's only version."""
    return {
        "name": name,
        "version": 1,
        "called": "1",
        "framework": "onnx",
        "runtime": "onnx",
        "max_rel_error": 1e-7,
        "executor": "inline",
        "state": "READY",
        "default": True,
        "traffic": 100,
        "shadow": None,
        "kept_until": None,
        "labels": [],
        "reason": None,
    } | told


def without_version(name: str, **told: Any) -> dict[str, Any]:
    """What it tells of a model that has none yet."""
    return row(name, **NO_VERSION, default=False, traffic=0) | told


def beside(number: int, **told: Any) -> dict[str, Any]:
    """Another version of `ranker`."""
    return row("ranker", version=number, called=f"{number}", default=False, traffic=0) | told


def lines(capsys: pytest.CaptureFixture[str], *rows: dict[str, Any]) -> list[str]:
    console().print(model_table({"gateway": {"http": HTTP}, "models": list(rows)}))
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_what_stands_in_brackets_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    reason = "the library 'torch' is not installed here: pip install 'onegate[torch]'"
    told = lines(capsys, without_version("digits", state="FAILED", reason=reason))
    assert told[1].endswith("not installed here: pip install 'onegate[torch]'")


def test_where_each_model_has_one_version_nothing_is_said_of_traffic(capsys: pytest.CaptureFixture[str]) -> None:
    assert lines(capsys, row("ranker"), without_version("new", state="CONVERTING", reason="waiting")) == [
        "MODEL   VERSION  FRAMEWORK -> RUNTIME  PARITY ERROR  EXECUTOR  STATE       ADDRESS",
        f"ranker  1        onnx -> onnx          1.0e-07       inline    READY       {HTTP}/v2/models/ranker",
        "new                                                            CONVERTING  waiting",
    ]


def test_versions_beside_each_other_are_told_by_their_traffic_and_labels_in_120_columns(
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = lines(
        capsys,
        row("ranker", traffic=90, labels=["stable"]),
        beside(2, traffic=10, default=True, shadow=10.0),
        beside(3, labels=["a", "b"]),
        beside(4, state="IDLE"),
        beside(5, shadow=50.0),
        beside(6, kept_until="2026-01-02T03:04:05+00:00"),
    )
    assert max(map(len, told)) <= 120
    place = told[0].index("TRAFFIC")
    assert [line[place:] for line in told] == [
        "TRAFFIC     ADDRESS",
        f"90% stable  {HTTP}/v2/models/ranker",
        f"10%         {HTTP}/v2/models/ranker",
        "0% a, b",
        "0%",
        "shadow 50%",
        "kept",
    ]


def test_a_version_that_answers_nobody_yet_has_no_traffic(capsys: pytest.CaptureFixture[str]) -> None:
    failed = beside(2, state="FAILED", reason="no memory left")
    told = lines(capsys, row("ranker"), beside(3), failed, beside(4, state="LOADING"))
    place = told[0].index("TRAFFIC")
    assert [line[place:] for line in told[1:]] == [
        f"100%     {HTTP}/v2/models/ranker",
        "0%",
        "         no memory left",
        "",
    ]


def test_a_label_of_a_sole_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    told = lines(capsys, row("ranker", labels=["stable"]))
    assert told[1].endswith(f"READY  100% stable  {HTTP}/v2/models/ranker")


def test_what_stands_between_colons_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    table = headed("NAME")
    table.add_row("at :lock: noon")
    console().print(table)
    assert capsys.readouterr().out.splitlines() == ["NAME          ", "at :lock: noon"]


def test_a_cell_that_is_too_wide_is_cut_and_a_folded_one_goes_on_below(capsys: pytest.CaptureFixture[str]) -> None:
    cut, folded = headed("NAME"), headed("WHY", folded=("WHY",))
    cut.add_row("n" * 250)
    folded.add_row("w" * 250)
    console().print(cut)
    console().print(folded)
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == ["NAME", "n" * 199 + "…", "WHY", "w" * 200, "w" * 50]
