"""`apply --wait-rollout` against a management port that answers as a test says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from model_store.errors import ModelNotReady
from serve.cli import main
from serve.commands import awaited_rollouts
from serve.commands.awaited_rollouts import AWAY_LOOKS, ends_of, patient
from tests.serve.management_port import ManagementPort, management_port

BEGAN, LATER = "2026-01-02T03:04:05+00:00", "2026-01-02T04:00:00+00:00"
ON = {"model": "m", "stable": 2, "canary": 3, "state": "on", "percent": 10, "steps": [10, 100], "began": BEGAN}
ON |= {"generation": 4, "reason": "not judged yet", "evidence": []}
ENDED = {"model": "m", "stable": 2, "canary": 3, "state": "went back", "began": BEGAN, "ended": LATER}
ENDED |= {"generation": 4, "reason": "errors: 5%", "evidence": [], "holds": True}
FINISHED = ENDED | {"state": "finished", "reason": "all bounds are kept"}
NEWER = ON | {"canary": 4, "began": LATER}

FAILED = {"name": "m", "state": "FAILED", "reason": "no version 3 in the store"}
PREPARED = {"name": "m", "state": "CONVERTING", "reason": "preparing", "executor": None}

WAY = "m: rollout of version 3 for 2"


def state(*rollouts: dict[str, Any], ended: tuple[dict[str, Any], ...] = (), models: str = "m") -> dict[str, Any]:
    rows = [{"name": name, "state": "READY", "reason": None} for name in models]
    return {"models": rows, "followed": True, "rollouts": list(rollouts), "ended_rollouts": list(ended)}


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[ManagementPort]:
    monkeypatch.setattr(awaited_rollouts, "LOOK_S", 0.0)
    with management_port() as port:
        port.answers["/api/config"] = {"applied": True, "changes": [], "generation": 4}
        yield port


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "onegate.yaml").write_text("models: []")
    return tmp_path / "onegate.yaml"


def apply(port: ManagementPort, config: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["apply", str(config), "--management", port.url, *words])


def test_a_rollout_that_finishes_is_success(port: ManagementPort, config: Path) -> None:
    port.answers["/api/state"] = [state(ON), state(ON | {"percent": 100}), state(ended=(FINISHED,))]
    result = apply(port, config, "--wait-rollout")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines()[-2:] == [
        f"{WAY}: at 10% (steps 10, 100): not judged yet",
        f"{WAY}: finished at {LATER}: all bounds are kept",
    ]


def test_one_that_goes_back_fails_with_its_reason(port: ManagementPort, config: Path) -> None:
    port.answers["/api/state"] = [state(ON), state(ON | {"state": "going back"}), state(ended=(ENDED,))]
    result = apply(port, config, "--wait-rollout", "--json")
    assert (result.exit_code, result.stderr) == (1, f"onegate: {WAY}: went back at {LATER}: errors: 5%\n")
    assert json.loads(result.stdout)["rollouts"] == [ENDED]


def test_one_that_had_ended_before_all_models_were_ready_counts(port: ManagementPort, config: Path) -> None:
    port.answers["/api/state"] = state(ended=(ENDED,))
    assert apply(port, config, "--wait-rollout").exit_code == 1
    port.answers["/api/state"] = state(ended=(FINISHED,))
    result = apply(port, config, "--wait-rollout")
    assert (result.exit_code, result.stdout.count("finished at")) == (0, 1)


def test_without_a_rollout_there_is_nothing_to_wait_for(port: ManagementPort, config: Path) -> None:
    port.answers["/api/state"] = state(ended=(ENDED | {"generation": 3},))
    assert apply(port, config, "--wait-rollout").exit_code == 0


@pytest.mark.parametrize("words", [["--plan"], ["--no-wait"]])
def test_what_begins_or_awaits_nothing_can_not_wait_for_a_rollout(
    port: ManagementPort, config: Path, words: list[str]
) -> None:
    result = apply(port, config, "--wait-rollout", *words)
    assert (result.exit_code, port.asked) == (2, [])
    assert "--wait-rollout goes with neither --plan nor --no-wait" in result.stderr


@pytest.mark.parametrize(
    ("later", "line"),
    [
        (state(NEWER), f"{WAY}: replaced: another rollout has begun"),
        (state(ended=(ENDED | {"canary": 4, "began": LATER},)), f"{WAY}: replaced: another rollout has begun"),
        (state(models=""), f"{WAY}: stopped: the model was retired"),
        (state() | {"models": [FAILED]}, f"{WAY}: stopped: nobody leads it any more: no version 3 in the store"),
    ],
)
def test_one_that_gave_way_to_something_else_fails(
    port: ManagementPort, config: Path, later: dict[str, Any], line: str
) -> None:
    port.answers["/api/state"] = [state(ON), later]
    result = apply(port, config, "--wait-rollout")
    assert (result.exit_code, result.stderr) == (1, f"onegate: {line}\n")


def awake(_: float) -> None:
    """No sleep."""


class Asked:
    """Answers one after the other; an error is raised."""

    def __init__(self, *told: Any) -> None:
        self._told = list(told)

    def __call__(self) -> Any:
        answer = self._told.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_a_controller_that_is_replaced_meanwhile_is_waited_for() -> None:
    away = ModelNotReady("nobody answers")
    asked = Asked(away, state(), state(ended=(ENDED | {"canary": 2, "began": "2026-01-01"},)), state(ended=(FINISHED,)))
    assert ends_of([ON], patient(asked, sleep=awake), sleep=awake) == [FINISHED]


def test_a_version_that_failed_counts_for_nothing_while_a_new_controller_prepares_the_model() -> None:
    asked = Asked(state() | {"models": [FAILED, PREPARED]}, state(ended=(FINISHED,)))
    assert ends_of([ON], asked, sleep=awake) == [FINISHED]


def test_a_controller_that_is_replaced_while_models_load_is_waited_for_too(port: ManagementPort, config: Path) -> None:
    away = (503, {"error": "nobody answers", "kind": "ModelNotReady"})
    port.answers["/api/state"] = [away, state(ended=(FINISHED,))]
    assert apply(port, config, "--wait-rollout").exit_code == 0
    port.answers["/api/state"] = [away, state(ended=(FINISHED,))]
    result = apply(port, config)
    assert (result.exit_code, "nobody answers" in result.stderr) == (1, True)


def test_a_gateway_that_stays_away_is_an_error() -> None:
    asked = Asked(*[ModelNotReady("nobody answers")] * AWAY_LOOKS, state(ended=(FINISHED,)))
    with pytest.raises(ModelNotReady, match="nobody answers"):
        ends_of([ON], patient(asked, sleep=awake), sleep=awake)


def test_all_of_several_are_waited_for_in_their_order() -> None:
    other = ON | {"model": "n"}
    of_other = FINISHED | {"model": "n"}
    # The other's has ended, whatever comes after it.
    after = NEWER | {"model": "n"}
    asked = Asked(state(ON, ended=(of_other,), models="mn"), state(NEWER, after, models="mn"))
    told = ends_of([ON, other], asked, sleep=awake)
    assert [(each["model"], each["state"]) for each in told] == [("m", "replaced"), ("n", "finished")]
