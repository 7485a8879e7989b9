"""`onegate import`: what it prints, writes and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from serve.cli import main
from serve.config import load_config
from tests.serve.importing_trees import write_onnx, write_saved_model, write_text


def run(*words: object) -> Result:
    return CliRunner().invoke(main, ["import", *map(str, words)])


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    write_onnx(folder / "add [1]/1/model.onnx")
    write_onnx(folder / "net/3/model.onnx")
    write_text(
        folder / "net/config.pbtxt", 'max_batch_size: 4 optimization { graph { level: 1 } } parameters { key: "a\\nb" }'
    )
    write_text(folder / "plan/1/model.plan", "x")
    return folder


YAML = """\
# Written by `onegate import` from Triton model repository.
gateway:
  # Triton's usual ports: its command line may have said others
  # Triton listens on every address: `host: 0.0.0.0` does so here
  http_port: 8000
  grpc_port: 8001
  management_port: 8002
models:
  - name: net
    # no counterpart: net/config.pbtxt: optimization: ONNX Runtime runs with onegate's own settings
    # no counterpart: net/config.pbtxt: parameters[a?b]: a backend's parameter
    versions:
      - source: repository/net/3/model.onnx
        as_version: "3"
    serve:
      batching:
        max_batch_size: 4
  # left out: add [1]
  # add [1]/config.pbtxt: name: no model can be called 'add [1]' here: expected letters, digits, '.', '_' and '-'
  #   after a first letter or digit, 200 at most; rename it
  # left out: plan
  # plan/1: version 1: left out: a TensorRT plan holds no model that can be read; import what it was built from
  # plan/config.pbtxt: version_policy: no version in plan/ that the version policy picks can be served
"""


def test_the_written_config_has_comments_and_relative_sources(repository: Path) -> None:
    output = repository.parent / "onegate.yaml"
    done = run(repository, "--output", output)
    assert (done.exit_code, done.stdout) == (0, "")
    assert output.read_text() == YAML
    [model] = load_config(output, environ={}).models
    assert model.versions is not None
    assert model.versions[0].source == str(repository / "net/3/model.onnx")
    for word in ("add [1]", "optimization", "parameters[a", "plan/1", "HAS NO COUNTERPART"):
        assert word in done.stderr


def test_without_output_the_config_is_printed_with_absolute_sources(repository: Path) -> None:
    done = run(repository)
    assert done.exit_code == 0
    assert f"source: {repository}/net/3/model.onnx" in done.stdout


def test_json_holds_config_and_what_has_no_counterpart(repository: Path) -> None:
    done = run(repository, "--json")
    answer = json.loads(done.stdout)
    assert (done.stderr, answer["server"], answer["output"]) == ("", "Triton model repository", None)
    assert [model["name"] for model in answer["config"]["models"]] == ["net"]
    assert answer["without_counterpart"][1] == {
        "file": "net/config.pbtxt",
        "key": "optimization",
        "reason": "ONNX Runtime runs with onegate's own settings",
        "model": "net",
        "left_out": False,
        "needs_trust": False,
    }
    assert answer["yaml"].startswith("# Written by")


def test_nothing_is_overwritten(repository: Path) -> None:
    output = write_text(repository.parent / "onegate.yaml", "mine")
    done = run(repository, "--output", output)
    assert (done.exit_code, output.read_text()) == (1, "mine")
    assert "is there already; name another --output" in done.stderr


def test_a_server_that_is_named_must_be_the_right_one(repository: Path, tmp_path: Path) -> None:
    assert run(repository, "--from", "triton").exit_code == 0
    done = run(repository, "--from", "tensorflow-serving")
    assert done.exit_code == 1
    assert "expected a models.config or <model>/<version>/saved_model.pb, found neither" in done.stderr
    assert run(repository, "--from", "seldon").exit_code == 2
    write_saved_model(tmp_path / "half/1")
    assert run(tmp_path, "--from", "tensorflow-serving").exit_code == 0


@pytest.mark.parametrize(("name", "problem"), [("nothing", "does not exist"), ("empty", "is of no known server")])
def test_what_is_of_no_server_is_refused(tmp_path: Path, name: str, problem: str) -> None:
    (tmp_path / "empty").mkdir()
    done = run(tmp_path / name)
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert problem in done.stderr


def test_a_repository_of_which_nothing_can_be_served_is_refused_with_the_reasons(tmp_path: Path) -> None:
    write_text(tmp_path / "plan/1/model.plan", "x")
    done = run(tmp_path, "--output", tmp_path / "onegate.yaml")
    assert (done.exit_code, (tmp_path / "onegate.yaml").exists()) == (1, False)
    assert "a TensorRT plan" in done.stderr
    assert "none of its 1 models can be served" in done.stderr
