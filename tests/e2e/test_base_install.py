"""A machine that only serves: the base install, no framework, versions that were converted elsewhere into the store."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tritonclient.http

from converters.base import ConversionOptions
from converters.publish import convert_and_publish
from model_store.store import Store
from tests.e2e import exports
from tests.e2e.running import running

ROOT = Path(__file__).parents[2]
FRAMEWORKS = ("torch", "tensorflow", "keras", "sklearn", "xgboost", "lightgbm", "catboost", "skl2onnx", "tf2onnx")
SOURCES = {"digits": "digits.pt2", "digits-keras": "digits.keras", "digits-sklearn": "digits.skops"}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a virtual environment with the base install."""
    folder = tmp_path_factory.mktemp("base") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    command = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", str(ROOT / "constraints.txt")]
    done = subprocess.run(
        [str(folder / "bin/python"), *command, str(ROOT)], capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return folder / "bin"


def test_the_base_install_brings_no_framework(base: Path) -> None:
    code = f"import importlib.util as u; print([name for name in {FRAMEWORKS!r} if u.find_spec(name)])"
    done = subprocess.run([str(base / "python"), "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_versions_converted_elsewhere_are_served_and_native_ones_say_what_they_need(base: Path, tmp_path: Path) -> None:
    store = Store.open(str(tmp_path / "store"))
    for name, file in SOURCES.items():
        convert_and_publish(store, name, ROOT / "examples/quickstart" / file, ConversionOptions())
    boosted = exports.write("xgboost", tmp_path / "step.json")
    convert_and_publish(store, "native", boosted, ConversionOptions(to="native"))
    models = [{"name": name, "versions": [{"version": 1}]} for name in (*SOURCES, "native")]
    models[-1]["serve"] = {"executor": "inline"}  # so that the reason comes at once, and not after a replica's restarts
    with running(tmp_path, {"store": "store", "models": models}, onegate=base / "onegate") as gateway:
        state = {row["name"]: row for row in gateway.wait_until_settled()["models"]}
        assert [state[name]["state"] for name in SOURCES] == ["READY"] * 3
        assert state["native"]["state"] == "FAILED"
        assert (
            "the library 'xgboost' is not installed here: pip install 'onegate[boosting]'" in state["native"]["reason"]
        )
        image = np.load(ROOT / "examples/quickstart/digit.npz")["image"].astype(np.float32)
        with tritonclient.http.InferenceServerClient(gateway.url.removeprefix("http://")) as client:
            for name in SOURCES:
                [described] = client.get_model_metadata(name)["inputs"]
                tensor = image.reshape([1, *described["shape"][1:]])
                sent = tritonclient.http.InferInput(described["name"], tensor.shape, "FP32")
                answer = client.infer(name, [sent.set_data_from_numpy(tensor)])
                outputs = [answer.as_numpy(each["name"]) for each in answer.get_response()["outputs"]]
                [digit] = {int(out[0]) if out.ndim == 1 else int(out[0].argmax()) for out in outputs}
                assert digit == 7, name
