"""`apply`, `rollback`, `traffic`, `label` and `history` against a management port that answers as a test says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from model_store.errors import Conflict
from serve.cli import main
from serve.commands.plan_report import summary
from serve.commands.rollout_report import rollout_line
from serve.management_client import ManagementClient
from tests.serve.importing_trees import write_onnx


def step(action: str, place: str, version: int | None, **more: Any) -> dict[str, Any]:
    """One version's, as the port answers it."""
    known = {"action": action, "place": place, "version": version}
    return {**known, "reason": None, "after_s": None, "after_rollout": False, **more}


ADD = {
    "model": "digits",
    "action": "add",
    "details": [],
    "differences": [],
    "versions": [step("convert", "/digits.onnx", None)],
    "traffic": {"before": {}, "after": {"new": 100}, "steps": []},
}
CHANGE = {
    "model": "ranker",
    "action": "change",
    "details": [],
    "differences": [
        {"path": "serve.cpus", "old": 1, "new": 2},
        {"path": "serve.batching.max_delay_ms", "old": 0.0, "new": 5.0},
        {"path": "versions[1].label", "old": None, "new": "canary"},
    ],
    "versions": [
        step("keep", "version 2", 2),
        step("load", "/b.onnx", 3),
        step("drop", "version 1", 1, after_s=0.0),
        step("drop", "version 4", 4, after_s=60.0),
    ],
    "traffic": {"before": {"1": 100}, "after": {"2": 90, "3": 10}, "steps": []},
}
RETIRE = {"model": "old", "action": "retire", "details": [], "differences": [], "versions": [], "traffic": None}
FAIL = {
    "model": "broken",
    "action": "fail",
    "details": [],
    "differences": [{"path": "source", "old": "/b.onnx", "new": "/c.onnx"}],
    "versions": [
        step("fail", "/c.onnx", None, reason="no such file"),
        step("keep", "version 1", 1),
    ],
    "traffic": None,
}
GUARDED = {
    "model": "guarded",
    "action": "change",
    "details": [],
    "differences": [],
    "versions": [
        step("load", "version 2", 2),
        step("drop", "version 1", 1, after_s=60.0, after_rollout=True),
    ],
    "traffic": {"before": {"1": 100}, "after": {"2": 100}, "steps": [1, 10, 100]},
}
KEEP = {"model": "same", "action": "keep", "details": [], "differences": [], "versions": [], "traffic": None}

PLAN = """\
+ digits
    + /digits.onnx will be converted to a new version
    ~ traffic: none -> new 100%
~ ranker
      serve
    ~   cpus: 1 -> 2
        batching
    ~     max_delay_ms: 0 -> 5
      versions[1]
    ~   label: unset -> canary
    = version 2 stays loaded
    + version 3 will be loaded (from /b.onnx)
    - version 1 will be dropped
    - version 4 will be dropped after 60 s
    ~ traffic: 1 100% -> 2 90%, 3 10%
~ guarded
    + version 2 will be loaded
    - version 1 will be dropped 60 s after the last step
    ~ traffic: 1 100% -> 2 100%, by steps 1, 10, 100
! broken
    ~ source: /b.onnx -> /c.onnx
    ! /c.onnx: no such file
    = version 1 stays loaded
    = traffic stays as it is
- old
= same
Plan: 1 to add, 2 to change, 1 to retire, 1 would fail, 1 unchanged
"""


class Port:
    """Stands for the management port: keeps what it is asked, with the path, and answers the next answer."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self.answers: list[Any] = []

    def call(self, method: str, path: str, document: Any = None, timeout_s: float = 0) -> Any:
        self.asked.append((method, path, document))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Port:
    port = Port()
    monkeypatch.setattr(ManagementClient, "_call", lambda self, *words, **options: port.call(*words, **options))
    return port


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "onegate.yaml").write_text("models: []")
    return tmp_path / "onegate.yaml"


def run(*words: object, **options: Any) -> Result:
    return CliRunner().invoke(main, [*map(str, words)], **options)


def changes(*found: dict[str, Any], generation: int = 4) -> dict[str, Any]:
    return {"applied": True, "changes": list(found), "generation": generation}


SETTLED = {"models": [], "followed": True}
ROLLOUT = {
    "model": "m",
    "stable": 2,
    "canary": 3,
    "state": "on",
    "percent": 10,
    "steps": [10, 100],
    "began": "2026-01-02T03:04:05+00:00",
    "generation": 4,
    "reason": "not judged yet",
    "evidence": [],
}
ROLLOUT_LINE = "m: rollout of version 3 for 2: at 10% (steps 10, 100): not judged yet"
WENT_BACK = {
    "model": "m",
    "stable": 2,
    "canary": 3,
    "state": "went back",
    "began": "2026-01-02T03:04:05+00:00",
    "ended": "2026-01-02T03:05:06+00:00",
    "generation": 4,
    "reason": "errors: 5%",
    "evidence": [],
    "holds": True,
}
WENT_BACK_LINE = "m: rollout of version 3 for 2: went back at 2026-01-02T03:05:06+00:00: errors: 5%"
CHANGED = {
    "generation": 5,
    "models": [
        {
            "model": "m",
            "versions": [
                {"version": "2", "labels": ["stable"], "traffic": 90, "state": "READY", "was_shadow": False},
                {"version": "3", "labels": [], "traffic": 10, "state": "READY", "was_shadow": True},
            ],
        }
    ],
}
CHANGED_TEXT = """\
m version 2 (stable): 90% of the traffic, READY
m version 3: 10% of the traffic, READY, no shadow any more
"""


# -- apply -----------------------------------------------------------------------------------------------------------


def test_a_plan_is_nested_and_summed_up(port: Port, config: Path) -> None:
    port.answers = [changes(ADD, CHANGE, GUARDED, FAIL, RETIRE, KEEP)]
    result = run("apply", config, "--plan")
    assert (result.output, result.exit_code) == (PLAN, 0)
    assert [(method, path) for method, path, _ in port.asked] == [("PUT", "/api/config?plan=true")]


def test_a_plan_is_in_colour_on_a_terminal_only(port: Port, config: Path) -> None:
    port.answers = [changes(ADD)] * 2
    assert "\x1b[" not in run("apply", config, "--plan").output
    assert "\x1b[32m" in run("apply", config, "--plan", color=True).output


@pytest.mark.parametrize(("change", "code"), [(KEEP, 0), (ADD, 3), (RETIRE, 3), (FAIL, 1)])
def test_a_plan_says_by_its_exit_code_whether_something_would_change(
    port: Port, config: Path, change: dict[str, Any], code: int
) -> None:
    port.answers = [changes(change)] * 2
    assert run("apply", config, "--plan", "--exit-code").exit_code == code
    assert run("apply", config, "--plan").exit_code == 0


def test_a_plan_that_would_fail_says_of_what_though_something_else_would_change(port: Port, config: Path) -> None:
    port.answers = [changes(ADD, FAIL)]
    result = run("apply", config, "--plan", "--exit-code", "--json")
    assert (result.exit_code, result.stderr) == (1, "onegate: model 'broken': /c.onnx: no such file\n")
    assert json.loads(result.stdout)["changes"] == [ADD, FAIL]


def test_the_exit_code_of_a_plan_goes_with_a_plan(config: Path) -> None:
    result = run("apply", config, "--exit-code")
    assert (result.exit_code, "--exit-code goes with --plan" in result.output) == (2, True)


@pytest.mark.parametrize(
    ("words", "environment", "asked"),
    [
        ([], {}, "http://127.0.0.1:{port}"),
        (["--management", "http://127.0.0.2:{port}"], {}, "http://127.0.0.2:{port}"),
        ([], {"ONEGATE_MANAGEMENT": "http://127.0.0.3:{port}"}, "http://127.0.0.3:{port}"),
    ],
)
def test_an_apply_asks_the_gateway_where_the_line_or_else_the_config_says(
    config: Path, free_port: int, words: list[str], environment: dict[str, str], asked: str
) -> None:
    # On all addresses, so that it is asked at one of its own.
    gateway = f"gateway: {{management_host: 0.0.0.0, management_port: {free_port}}}"
    config.write_text(f"{gateway}\naccess: {{anonymous: [infer]}}\nmodels: []")
    environment = {name: value.format(port=free_port) for name, value in environment.items()}
    result = run("apply", config, *(word.format(port=free_port) for word in words), env=environment)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"onegate: no gateway answers at {asked.format(port=free_port)} (")


def test_an_apply_sends_the_generation_of_its_plan(port: Port, config: Path) -> None:
    port.answers = [changes(ADD, generation=4), changes(ADD, generation=5), SETTLED]
    result = run("apply", config)
    assert (result.exit_code, result.output.splitlines()[-1]) == (0, "Plan: 1 to add")
    assert [path for _, path, _ in port.asked] == ["/api/config?plan=true", "/api/config?generation=4", "/api/state"]


def test_an_apply_of_another_servers_repository_sends_what_it_would_be_imported_as(port: Port, tmp_path: Path) -> None:
    source = write_onnx(tmp_path / "models/net/3/model.onnx")
    port.answers = [changes(ADD)]
    result = run("apply", tmp_path / "models", "--plan", "--json")
    assert json.loads(result.stdout)["changes"] == [ADD]
    assert f"onegate: {tmp_path}/models: read as a configuration of another server" in result.stderr
    [(method, path, document)] = port.asked
    assert (method, path) == ("PUT", "/api/config?plan=true")
    assert document["models"][0]["versions"] == [{"source": str(source), "as_version": "3", "shadow": False}]
    assert document["gateway"]["http_port"] == 8000


def test_an_apply_says_which_rollouts_it_has_begun(port: Port, config: Path) -> None:
    port.answers = [changes(CHANGE), changes(CHANGE), SETTLED | {"rollouts": [ROLLOUT]}]
    assert run("apply", config).output.splitlines()[-1] == ROLLOUT_LINE
    port.answers = [SETTLED | {"gateway": {"http": "http://here"}, "rollouts": [ROLLOUT]}]
    assert run("status").output.splitlines()[-1] == ROLLOUT_LINE


def test_an_apply_tells_programs_which_rollouts_it_has_begun(port: Port, config: Path) -> None:
    port.answers = [changes(CHANGE), changes(CHANGE), SETTLED | {"rollouts": [ROLLOUT]}]
    assert json.loads(run("apply", config, "--json").stdout)["rollouts"] == [ROLLOUT]
    port.answers = [changes(CHANGE), changes(CHANGE)]
    assert json.loads(run("apply", config, "--json", "--no-wait").stdout)["rollouts"] == []


def test_a_rollout_of_the_apply_that_ended_while_another_model_was_loading_is_told(port: Port, config: Path) -> None:
    ended = [WENT_BACK, WENT_BACK | {"model": "n", "generation": 3}]
    port.answers = [changes(CHANGE), changes(CHANGE), SETTLED | {"ended_rollouts": ended}]
    result = run("apply", config)
    assert (result.exit_code, result.output.splitlines()[-1]) == (0, WENT_BACK_LINE)


def test_the_status_tells_a_version_that_was_sent_back_as_long_as_that_is_what_is_served(port: Port) -> None:
    state = SETTLED | {"gateway": {"http": "http://here"}}
    others = [WENT_BACK | {"holds": False}, WENT_BACK | {"state": "finished"}]
    port.answers = [state | {"ended_rollouts": [WENT_BACK, *others]}]
    assert run("status").output.splitlines()[1:] == [WENT_BACK_LINE]


def test_a_rollout_that_goes_back_says_why() -> None:
    told = rollout_line(ROLLOUT | {"state": "going back", "reason": "errors: 0.05"})
    assert told == "m: rollout of version 3 for 2: goes back: errors: 0.05"


def test_who_was_not_first_is_told(port: Port, config: Path) -> None:
    port.answers = [changes(ADD), Conflict("generation 5 (apply, by user:ada at 2026) came since")]
    result = run("apply", config)
    assert result.exit_code == 1
    assert "onegate: generation 5 (apply, by user:ada at 2026) came since" in result.output


def test_a_model_that_failed_is_told_and_the_exit_code_is_1(port: Port, config: Path) -> None:
    row = {"name": "digits", "state": "FAILED", "reason": "no such file", "executor": None}
    port.answers = [changes(ADD), changes(ADD), {"models": [row], "followed": True}]
    result = run("apply", config, "--json")
    assert result.exit_code == 1
    assert "onegate: model 'digits': no such file" in result.output


def test_a_plan_of_nothing_says_so() -> None:
    assert summary([]) == "Plan: no models"


# -- rollback, traffic, label ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (["rollback", "m"], ("POST", "/api/models/m/rollback", {})),
        (["rollback", "m", "--to", 3], ("POST", "/api/models/m/rollback", {"to": 3})),
        (["traffic", "m", "2=90", "3=10%"], ("PUT", "/api/models/m/traffic", {"2": 90, "3": 10})),
        (["label", "m", "stable=2"], ("PUT", "/api/models/m/labels", {"stable": "2"})),
        (["label", "m", "--remove", "old"], ("PUT", "/api/models/m/labels", {"old": None})),
        (["label", "a/b", "x=1"], ("PUT", "/api/models/a%2Fb/labels", {"x": "1"})),
    ],
)
def test_a_command_asks_and_tells_the_versions(port: Port, words: list[Any], asked: tuple[str, str, Any]) -> None:
    port.answers = [CHANGED, CHANGED]
    result = run(*words)
    assert (result.output, result.exit_code) == (CHANGED_TEXT, 0)
    assert port.asked == [asked]
    assert json.loads(run(*words, "--json").output) == CHANGED


@pytest.mark.parametrize(
    "words",
    [
        ["traffic", "m"],
        ["traffic", "m", "2"],
        ["traffic", "m", "2=x"],
        ["traffic", "m", "2=-1"],
        ["traffic", "m", "2=50", "2=50"],
        ["label", "m"],
        ["label", "m", "=2"],
        ["label", "m", "stable=2", "--remove", "stable"],
        ["rollback", "m", "--to", "0"],
    ],
)
def test_wrong_usage_asks_nothing(port: Port, words: list[str]) -> None:
    assert (run(*words).exit_code, port.asked) == (2, [])


# -- history ---------------------------------------------------------------------------------------------------------

HISTORY = {
    "generations": [
        {
            "number": 2,
            "created": "2026-01-02T03:04:05.678+00:00",
            "by": "user:ada",
            "why": "traffic of m",
            "changes": [
                {
                    "model": "m",
                    "action": "change",
                    "differences": [{"path": "versions[0].traffic", "old": 100, "new": 90}],
                },
                {"model": "n", "action": "add", "differences": []},
            ],
            "settings": [{"path": "allowed_sources", "old": [], "new": ["file://*"]}],
        }
    ],
    "served": [
        {
            "number": 1,
            "since": "2026-01-02T03:04:06+00:00",
            "by": "user:ada",
            "generation": 2,
            "text": "version 2 90%, version 3 10%",
            "document": {},
        }
    ],
}


def test_history_tells_who_changed_what_and_what_was_served(port: Port) -> None:
    port.answers = [HISTORY, HISTORY]
    lines = [line.split() for line in run("history", "m").output.splitlines()]
    assert lines[1] == [
        *("2", "2026-01-02", "03:04:05", "user:ada", "traffic", "of", "m"),
        *("m:", "versions[0].traffic:", "100", "->", "90"),
    ]
    assert lines[2:4] == [["n:", "added"], ["allowed_sources:", "[]", "->", "[file://*]"]]
    assert lines[-1][:6] == ["1", "2026-01-02", "03:04:06", "user:ada", "2", "version"]
    assert json.loads(run("history", "--json", "--limit", 5).output) == HISTORY
    assert [path for _, path, _ in port.asked] == ["/api/history?model=m&limit=20", "/api/history?limit=5"]


def test_history_of_a_model_without_records_is_an_error_only_where_nobody_knows_it(port: Port) -> None:
    nothing = {"generations": [], "served": [], "rollouts": []}
    port.answers = [nothing, {"models": [{"name": "m"}]}] * 2
    assert run("history", "m").exit_code == 0
    result = run("history", "nope")
    assert (result.exit_code, result.stderr) == (1, "onegate: model 'nope' is not served here; models: m\n")


def test_history_lists_the_steps_of_rollouts(port: Port) -> None:
    step = {"number": 3, "at": "2026-01-02T03:04:05+00:00", "state": "on", "percent": 10, "stable": 2, "canary": 3}
    port.answers = [HISTORY | {"rollouts": [step | {"by": "user:ada", "reason": "all bounds are kept"}]}]
    lines = [line.split() for line in run("history", "m").output.splitlines()]
    assert lines[-2:] == [
        ["ROLLOUT", "WHEN", "WHO", "VERSION", "STATE", "CALLS", "WHY"],
        [*("3", "2026-01-02", "03:04:05", "user:ada", "2", "->", "3", "on", "10%"), "all", "bounds", "are", "kept"],
    ]


def test_history_says_who_ended_a_rollout(port: Port) -> None:
    step = {"number": 4, "at": "2026-01-02T03:04:05+00:00", "state": "stopped", "percent": 10, "stable": 2, "canary": 3}
    step |= {"by": "user:ada", "ended_by": "user:eve", "ended_generation": 9, "reason": "ended by traffic of m"}
    port.answers = [HISTORY | {"rollouts": [step]}]
    assert run("history", "m").output.splitlines()[-1].split()[:4] == ["4", "2026-01-02", "03:04:05", "user:eve"]
