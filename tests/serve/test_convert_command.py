"""`onegate convert` and `onegate versions`: what they print for people and for programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from onnx import TensorProto, helper, numpy_helper

from serve.cli import main


@pytest.fixture
def double(tmp_path: Path) -> Path:
    """y = 2 x, with the batch frozen at 4."""
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "two"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, 3])],
        [numpy_helper.from_array(np.float32(2), "two")],
    )
    path = tmp_path / "double.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def onegate(tmp_path: Path, *words: str) -> Result:
    return CliRunner().invoke(main, [*words, "--store", str(tmp_path / "store")])


def convert_json(tmp_path: Path, *words: str) -> tuple[int, dict[str, Any]]:
    result = onegate(tmp_path, "convert", *words, "--json")
    return result.exit_code, json.loads(result.stdout)


def test_json_of_a_conversion_has_the_keys_that_programs_read(tmp_path: Path, double: Path) -> None:
    code, answer = convert_json(tmp_path, str(double))
    assert code == 0
    assert (answer["name"], answer["version"], answer["framework"], answer["runtime"]) == ("double", 1, "onnx", "onnx")
    assert (answer["onnx"], answer["opset"], answer["reason"]) == (True, 18, None)
    assert (answer["parity"]["passed"], answer["parity"]["batches"], answer["row_independent"]) == (
        True,
        [1, 3, 64],
        True,
    )
    assert answer["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}]
    assert answer["seconds"] > 0


def test_what_can_not_be_converted_says_why(tmp_path: Path, double: Path) -> None:
    code, answer = convert_json(tmp_path, str(double), "--to", "native")
    assert code == 1
    assert (answer["onnx"], answer["version"]) == (False, None)
    assert answer["reason"] == "onnx models are served by ONNX Runtime only"


@pytest.mark.parametrize(
    ("file", "words", "problem"),
    [
        (
            "double.onnx",
            ("--name", "a b"),
            "'a b': expected letters, digits, '.', '_' and '-' after a first letter or digit, 200 at most",
        ),
        ("models.onnx", (), "'models': expected none of the endpoint's own words "),
    ],
)
def test_a_name_that_no_model_can_have_is_refused_with_what_it_may_be(
    tmp_path: Path, double: Path, file: str, words: tuple[str, ...], problem: str
) -> None:
    source = double.rename(tmp_path / file)
    result = onegate(tmp_path, "convert", str(source), *words)
    (line,) = result.stderr.splitlines()
    assert result.exit_code == 1
    assert line.startswith(f"onegate: no model can be called {problem}")
    assert line.endswith("; --name NAME gives another")
    assert not (tmp_path / "store").exists()


def test_people_see_the_report_again_with_the_version(tmp_path: Path, double: Path) -> None:
    assert onegate(tmp_path, "convert", str(double)).exit_code == 0
    result = onegate(tmp_path, "versions", "double", "--version", "1")
    assert result.exit_code == 0
    first, heading, output, compared, *_, profile = result.stdout.splitlines()
    assert first.startswith("double version 1: onnx double.onnx, 20")
    assert heading.split()[0] == "OUTPUT"
    assert output.split()[0] == "y"
    assert compared.endswith("at batches 1, 3, 64, bound 0.0001; rows are independent")
    assert profile.startswith("one CPU thread: ")


def test_a_reduced_precision_is_another_version_with_its_loss(tmp_path: Path, double: Path) -> None:
    assert onegate(tmp_path, "convert", str(double)).exit_code == 0
    code, answer = convert_json(tmp_path, str(double), "--precision", "float16")
    assert code == 0, answer["reason"]
    assert (answer["version"], answer["parity"]["rtol"]) == (2, 0.01)


def test_an_input_without_dimensions_is_a_scalar(tmp_path: Path, double: Path) -> None:
    code, answer = convert_json(tmp_path, str(double), "--input", "x:FP32:")
    assert (code, answer["reason"]) == (1, "inputs: 'x' is FP32[4, 3] in the model, and FP32[] in the config")
    assert onegate(tmp_path, "convert", str(double), "--input", "x:FP32:a").exit_code == 2


def test_conflicting_wishes_are_refused(tmp_path: Path, double: Path) -> None:
    code, answer = convert_json(tmp_path, str(double), "--to", "native", "--precision", "int8")
    assert code == 1
    assert answer["reason"] == "convert: precision 'int8' needs `to: onnx`; native models keep their own"


def test_labels_name_the_scores(tmp_path: Path, double: Path) -> None:
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    code, answer = convert_json(tmp_path, str(double), "--labels", str(tmp_path / "labels.txt"))
    reason = "labels: 2 names for the output 'y', which has 3 scores; name each class"
    assert (code, answer["kind"], answer["reason"]) == (1, "ConfigError", reason)
    (tmp_path / "labels.txt").write_text("cat\ndog\nbird\n")
    assert convert_json(tmp_path, str(double), "--labels", str(tmp_path / "labels.txt"))[1]["version"] == 1
