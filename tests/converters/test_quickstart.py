"""The committed exports of `examples/quickstart.py`: each converts, and knows the digit that comes with them."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from converters.publish import Published
from model_store.sources import resolve_source

GIVEN = {"README.md", "cat.jpg", "cifar-0000.params", "cifar-labels.txt", "cifar-symbol.json"}
"""What the script does not make; the README there says where it is from."""


@pytest.fixture
def digit(quickstart: Path) -> np.ndarray:
    body = json.loads((quickstart / "digit.json").read_text())["inputs"][0]
    assert (body["name"], body["datatype"], body["shape"]) == ("image", "FP32", [1, 1, 8, 8])
    return np.array(body["data"], dtype=np.float32).reshape(body["shape"])


@pytest.mark.parametrize(
    ("name", "input_name", "shape", "scores"),
    [
        ("digits.pt2", "image", (1, 1, 8, 8), "scores"),
        ("digits.keras", "image", (1, 8, 8, 1), "scores"),
        ("digits.skops", "input", (1, 64), "probabilities"),
        ("digits-lightgbm.txt", "input", (1, 64), "probabilities"),
        ("digits-mlp.onnx", "pixels", (1, 64), "scores"),
    ],
)
def test_every_model_knows_the_digit(
    quickstart: Path,
    digit: np.ndarray,
    publish: Callable[..., Published],
    answers: Callable[..., dict[str, np.ndarray]],
    name: str,
    input_name: str,
    shape: tuple[int, ...],
    scores: str,
) -> None:
    published = publish(quickstart / name)
    got = answers(published, {input_name: digit.reshape(shape)})
    assert got[scores].shape == (1, 10)
    assert int(got[scores].argmax()) == 7
    assert published.manifest.row_independent
    assert published.manifest.parity is not None
    assert published.manifest.parity.max_rel_error < 1e-5


def test_the_example_file_fits_the_body(quickstart: Path, digit: np.ndarray) -> None:
    with np.load(quickstart / "digit.npz") as example:
        assert example.files == ["image"]
        assert np.array_equal(example["image"], digit)


def test_the_config_names_the_exports_that_are_there(quickstart: Path) -> None:
    path = quickstart.parent.parent / "configs" / "quickstart.yaml"
    models = yaml.safe_load(path.read_text())["models"]
    assert [model["name"] for model in models] == [
        "digits", "digits-keras", "digits-sklearn", "digits-lightgbm", "digits-mlp", "cifar"
    ]  # fmt: skip
    for model in models:
        assert resolve_source(model["source"], path.parent, path.parent).is_file()
    assert (path.parent / models[-1]["labels"]).is_file()
    assert (path.parent / models[0]["examples"]).is_file()


def test_the_exports_are_small_and_name_no_folder(quickstart: Path) -> None:
    files = list(quickstart.iterdir())
    assert sum(path.stat().st_size for path in files) < 1_500_000
    here = str(quickstart.parent.parent).encode()
    assert [path.name for path in files if here in path.read_bytes()] == []


def test_the_script_exports_what_is_committed(quickstart: Path) -> None:
    spec = importlib.util.spec_from_file_location("quickstart_script", quickstart.parent / "quickstart.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    made = {*script.EXPORTS, "digit.npz", "digit.json"}
    assert made | GIVEN == {path.name for path in quickstart.iterdir()}
