"""A watched folder: what is seen when, and what it does to desired state."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from model_store.errors import ConfigError, Conflict, ModelNotReady
from model_store.generations import Generation
from serve.cli import main
from serve.config import load_config
from serve.importing.entries import entries, model_name
from serve.watched_models import WatchedModels
from serve.watching import FolderWatch, edited
from tests.serve.importing_trees import write_onnx, write_saved_model, write_text


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Watched:
    """A watch of a folder, the lines that it told, and its clock."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.lines: list[str] = []
        self.watch = FolderWatch(folder, self.lines.append, self.clock)

    def look(self, after_s: float = 2.0) -> bool:
        self.clock.now += after_s
        return self.watch.poll()

    def settle(self) -> bool:
        self.look()
        return self.look()


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def test_entries_leave_out_hidden_names_and_keep_files_together() -> None:
    names = [
        ".net.onnx.x3",
        "net.onnx",
        "net.onnx2",
        "net.onnx.data",
        "a-symbol.json",
        "a-0001.params",
        "a-0002.params",
        "folder",
    ]
    assert entries(names) == {
        "a-symbol.json": ["a-symbol.json", "a-0001.params", "a-0002.params"],
        "folder": ["folder"],
        "net.onnx": ["net.onnx", "net.onnx.data"],
        "net.onnx2": ["net.onnx2"],
    }


@pytest.mark.parametrize(
    ("file", "name"),
    [("net.v2.onnx", "net.v2"), ("net.tar.gz", "net"), ("net.mar", "net"), ("a-symbol.json", "a"), ("bare", "bare")],
)
def test_a_model_is_called_as_its_file_without_the_ending(file: str, name: str) -> None:
    assert model_name(Path(file)) == name


def test_a_version_that_is_a_link_to_a_folder_is_seen(watched: Watched, tmp_path: Path) -> None:
    write_onnx(tmp_path / "net/1/model.onnx")
    write_onnx(tmp_path / ".elsewhere/model.onnx")
    watched.settle()
    (tmp_path / "net/2").symlink_to(tmp_path / ".elsewhere")
    assert watched.settle()
    assert [each["as_version"] for each in watched.watch.models()[0]["versions"]] == ["2"]


def test_a_file_is_a_model_once_it_stood_still_between_two_looks(watched: Watched, tmp_path: Path) -> None:
    source = write_onnx(tmp_path / "net.v2.onnx")
    assert (watched.look(), watched.watch.models()) == (False, [])
    assert (watched.look(1.9), watched.watch.models()) == (False, [])
    assert watched.look(0.1)
    assert watched.watch.models() == [{"name": "net.v2", "source": str(source)}]
    assert (watched.look(), watched.lines) == (False, [])


def test_what_is_still_written_waits(watched: Watched, tmp_path: Path) -> None:
    source = write_onnx(tmp_path / "net/1/model.onnx")
    watched.look()
    os.utime(source, ns=(1, 1))
    assert not watched.look()
    write_text(tmp_path / "net/1/more", "x")
    assert not watched.look()
    assert watched.look()


def test_version_folders_serve_the_newest_as_they_appear_and_vanish(watched: Watched, tmp_path: Path) -> None:
    write_onnx(tmp_path / "net/1/model.onnx")
    watched.settle()
    first = {"name": "net", "versions": [{"source": str(tmp_path / "net/1/model.onnx"), "as_version": "1"}]}
    assert watched.watch.models() == [first]
    write_onnx(tmp_path / "net/2/model.onnx")
    assert watched.settle()
    assert [each["as_version"] for each in watched.watch.models()[0]["versions"]] == ["2"]
    shutil.rmtree(tmp_path / "net/2")
    assert watched.settle()
    assert watched.watch.models() == [first]
    shutil.rmtree(tmp_path / "net")
    assert watched.settle()
    assert watched.watch.models() == []


def test_a_config_pbtxt_and_saved_models_are_read_as_import_reads_them(watched: Watched, tmp_path: Path) -> None:
    for number in (1, 2):
        write_onnx(tmp_path / f"net/{number}/model.onnx")
    write_text(tmp_path / "net/config.pbtxt", "version_policy { all { } } optimization { } max_batch_size: 2")
    write_saved_model(tmp_path / "half/7")
    write_saved_model(tmp_path / "bare")
    watched.settle()
    assert watched.watch.models() == [
        {"name": "bare", "source": str(tmp_path / "bare")},
        {"name": "half", "versions": [{"source": str(tmp_path / "half/7"), "as_version": "7"}]},
        {
            "name": "net",
            "versions": [
                {"source": str(tmp_path / "net/1/model.onnx"), "as_version": "1"},
                {"source": str(tmp_path / "net/2/model.onnx"), "as_version": "2", "traffic": 100},
            ],
            "serve": {"batching": {"max_batch_size": 2}},
        },
    ]
    assert watched.lines == ["--watch: net: 1 of its settings have no counterpart; `onegate import` lists them"]


def test_what_is_no_model_is_told_once_for_each_change(watched: Watched, tmp_path: Path) -> None:
    file = write_text(tmp_path / "notes.txt", "hello")
    assert not watched.settle()
    assert not watched.settle()
    assert len(watched.lines) == 1
    assert watched.lines[0].startswith("--watch: notes.txt: source 'notes.txt' is of no known kind")
    file.write_text("hello again")
    assert not watched.settle()
    assert len(watched.lines) == 2


def test_a_model_that_is_overwritten_with_nonsense_stays(watched: Watched, tmp_path: Path) -> None:
    source = write_onnx(tmp_path / "net/1/model.onnx")
    watched.settle()
    write_text(tmp_path / "net/config.pbtxt", "name:")
    assert watched.settle()
    assert watched.watch.models()[0]["versions"][0]["source"] == str(source)
    assert watched.lines == ["--watch: net: net/config.pbtxt:1: expected a value, got 'the end of the file'"]


def test_of_two_entries_of_one_name_the_first_is_served(watched: Watched, tmp_path: Path) -> None:
    write_saved_model(tmp_path / "net")
    write_onnx(tmp_path / "net.onnx")
    watched.settle()
    assert watched.watch.models() == [{"name": "net", "source": str(tmp_path / "net")}]
    assert len(watched.lines) == 1


def test_a_folder_that_went_away_changes_nothing(watched: Watched, tmp_path: Path) -> None:
    write_onnx(tmp_path / "models/net.onnx")
    there = Watched(tmp_path / "models")
    there.settle()
    shutil.rmtree(tmp_path / "models")
    assert not there.settle()
    assert [model["name"] for model in there.watch.models()] == ["net"]
    assert there.lines == [
        f"--watch: {tmp_path}/models can't be listed, and its models stay: No such file or directory"
    ]


def test_edits_replace_only_the_watchers_own_models() -> None:
    document = {"store": "s", "models": [{"name": "mine"}, {"name": "config"}]}
    assert edited(document, ["mine"], [{"name": "new"}, {"name": "config", "source": "x"}]) == (
        {"store": "s", "models": [{"name": "config"}, {"name": "new"}]},
        ["config"],
    )


class Port:
    """A management port that remembers what was put. `race` happens before the next config comes in."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.number = 1
        self.document = document
        self.puts: list[list[str]] = []
        self.error: Exception | None = None
        self.race: Callable[[], None] = lambda: None
        self.loses_answers = False

    def change(self, document: dict[str, Any]) -> None:
        self.number, self.document = self.number + 1, document

    def current(self) -> Generation:
        return Generation(self.number, "", self.document)

    def put_config(self, document: dict[str, Any], *, generation: int) -> dict[str, Any]:
        if self.error is not None:
            raise self.error
        self.race()
        if generation != self.number:
            raise Conflict("another generation came since")
        before = {model["name"] for model in self.document["models"]}
        after = [model["name"] for model in document["models"]]
        self.puts.append(after)
        self.change(document)
        if self.loses_answers:
            raise ModelNotReady("no gateway answers")
        changes = [{"model": name, "action": "keep" if name in before else "add"} for name in after]
        return {"changes": changes + [{"model": name, "action": "retire"} for name in sorted(before - {*after})]}


@pytest.fixture
def port() -> Port:
    return Port({"models": [{"name": "config"}]})


@pytest.fixture
def applied(watched: Watched, port: Port) -> WatchedModels:
    return WatchedModels(watched.watch, port, port.current, watched.lines.append)


def step(watched: Watched, applied: WatchedModels) -> None:
    for _ in range(2):
        watched.clock.now += 2
        applied.step()


def test_changes_are_applied_beside_what_others_desire(
    watched: Watched, applied: WatchedModels, port: Port, tmp_path: Path
) -> None:
    step(watched, applied)
    assert port.puts == []
    source = write_onnx(tmp_path / "net.onnx")
    step(watched, applied)
    port.change({"models": [*port.document["models"], {"name": "loaded"}]})
    source.unlink()
    step(watched, applied)
    assert port.puts == [["config", "net"], ["config", "loaded"]]
    assert watched.lines == ["--watch: adding net", "--watch: retiring net"]


def test_a_gateway_that_does_not_answer_is_asked_again(
    watched: Watched, applied: WatchedModels, port: Port, tmp_path: Path
) -> None:
    write_onnx(tmp_path / "net.onnx")
    port.error = ModelNotReady("no gateway answers")
    step(watched, applied)
    port.error = None
    applied.step()
    assert (port.puts, watched.lines) == ([["config", "net"]], ["--watch: adding net"])


def test_what_was_applied_though_the_answer_was_lost_is_still_the_watchers_own(
    watched: Watched, applied: WatchedModels, port: Port, tmp_path: Path
) -> None:
    source = write_onnx(tmp_path / "net.onnx")
    port.loses_answers = True
    step(watched, applied)
    port.loses_answers = False
    applied.step()
    source.unlink()
    step(watched, applied)
    assert port.puts == [["config", "net"], ["config", "net"], ["config"]]
    assert watched.lines == ["--watch: retiring net"]


def test_what_others_apply_at_the_same_moment_is_not_overwritten(
    watched: Watched, applied: WatchedModels, port: Port, tmp_path: Path
) -> None:
    def race() -> None:
        port.change({"models": [{"name": "theirs"}]})
        port.race = lambda: None

    port.race = race
    write_onnx(tmp_path / "net.onnx")
    step(watched, applied)
    assert (port.puts, watched.lines) == ([], [])
    applied.step()
    assert (port.puts, watched.lines) == ([["theirs", "net"]], ["--watch: adding net"])


def test_what_is_refused_is_told_once(watched: Watched, applied: WatchedModels, port: Port, tmp_path: Path) -> None:
    write_onnx(tmp_path / "net.onnx")
    port.error = ConfigError("models[1]: no")
    step(watched, applied)
    step(watched, applied)
    assert watched.lines == ["--watch: the changes can't be applied: models[1]: no"]


def test_a_model_of_the_config_keeps_its_name(
    watched: Watched, applied: WatchedModels, port: Port, tmp_path: Path
) -> None:
    write_onnx(tmp_path / "config.onnx")
    step(watched, applied)
    assert port.document == {"models": [{"name": "config"}]}
    assert watched.lines == ["--watch: config: the config has a model of that name, which stays"]


def test_outcomes_are_told_once_each(watched: Watched, applied: WatchedModels, tmp_path: Path) -> None:
    write_onnx(tmp_path / "net.onnx")
    step(watched, applied)
    watched.lines.clear()

    def row(state: str, **known: Any) -> dict[str, Any]:
        return {"name": "net", "state": state, "version": None, "reason": None} | known

    other = {"name": "config", "state": "FAILED", "version": None, "reason": "why"}
    applied.note_outcomes({"models": [other, row("CONVERTING")]})
    for _ in range(2):
        applied.note_outcomes({"models": [other, row("READY", version=1)]})
        applied.note_outcomes({"models": [row("READY", version=1), row("FAILED", reason="no model")]})
    assert watched.lines == [
        "--watch: net is served (version 1 of the store)",
        "--watch: net is not served: no model",
    ]


def test_up_wants_a_config_or_a_folder() -> None:
    done = CliRunner().invoke(main, ["up"])
    assert (done.exit_code, "expected CONFIG, or --watch FOLDER" in done.stderr) == (2, True)


def test_up_refuses_a_folder_that_is_not_there(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["up", "--watch", str(tmp_path / "nowhere")])
    assert (done.exit_code, done.stderr) == (
        1,
        f"onegate: --watch: '{tmp_path}/nowhere' is no folder; make it first\n",
    )


def test_without_a_config_there_are_no_models_and_the_store_is_in_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = load_config(None, overrides={"gateway.http_port": 9000}, environ={"ONEGATE_GATEWAY_GRPC_PORT": "9001"})
    assert (config.models, config.store) == ([], str(tmp_path / "store"))
    assert (config.gateway.http_port, config.gateway.grpc_port) == (9000, 9001)
