"""MXNet models from their two files, without MXNet: what the gateway and `onegate convert` do with them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http

from tests.converters.mxnet.recorded import load_case, unpack
from tests.e2e import cifar
from tests.e2e.running import ONEGATE, Running, get, running
from tests.sources.mxnet_writing import Net

SOURCES = {"by-prefix": "net/cifar", "by-params": "net/cifar-0000.params", "by-folder": "net"}
MEAN, STD = [0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010]
RECURRENT = "ops/gluon_lstm_states_as_inputs"
LAST_STEP = [-0.31691104, -0.26512033, 0.463644, -0.09610034, -0.00428543]
"""What MXNet 1.9.1 gives as the last step of the recorded sequence when both states begin with zeros."""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack(tmp_path_factory.mktemp("recorded"))


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, recorded: Path) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("mxnet")
    (folder / "net").mkdir()
    cifar.write_net(folder / "net")
    (folder / "classes.txt").write_text("\n".join(cifar.CLASSES))
    batching = {"batching": {"max_batch_size": 8}}
    common = {"inputs": cifar.INPUTS, "serve": batching}
    models: list[dict[str, Any]] = [{"name": name, "source": source, **common} for name, source in SOURCES.items()]
    image = {"type": "image", "scale": 1 / 255, "mean": MEAN, "std": STD}
    models[-1] |= {"processor": image, "labels": "classes.txt"}
    models.append(recurrent(recorded, "states", "data0", "data1", "data2"))
    models.append(recurrent(recorded, "begin-states", "data0"))
    with running(folder, {"store": "store", "models": models}) as started:
        started.wait_until_settled()
        yield started


def recurrent(recorded: Path, name: str, *inputs: str) -> dict[str, Any]:
    """A model of the recurrent net with these inputs declared."""
    known = load_case(recorded / f"{RECURRENT}-symbol.json").calls[0][0]
    declared = [{"name": key, "datatype": "FP32", "shape": list(known[key].shape)} for key in inputs]
    return {"name": name, "source": str(recorded / f"{RECURRENT}-0000.params"), "inputs": declared}


def infer(gateway: Running, model: str, **inputs: np.ndarray) -> list[np.ndarray]:
    """All outputs of a call through v2, in the model's order."""
    with tritonclient.http.InferenceServerClient(gateway.url.removeprefix("http://")) as client:
        sent = [
            tritonclient.http.InferInput(name, list(array.shape), "FP32").set_data_from_numpy(array)
            for name, array in inputs.items()
        ]
        answer = client.infer(model, sent)
        return [answer.as_numpy(each["name"]) for each in client.get_model_metadata(model)["outputs"]]


def convert(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ONEGATE, "convert", *words, "--store", "store"],
        cwd=folder, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def test_every_model_is_ready_as_onnx(gateway: Running) -> None:
    states = {row["name"]: (row["state"], row["framework"], row["runtime"]) for row in gateway.state()["models"]}
    assert states == dict.fromkeys((*SOURCES, "states", "begin-states"), ("READY", "mxnet", "onnx"))


@pytest.mark.parametrize("model", SOURCES)
def test_the_recorded_logits_come_through_v2_however_the_pair_is_named(gateway: Running, model: str) -> None:
    x, logits = cifar.recorded()
    [got] = infer(gateway, model, data=np.concatenate([x, x]))
    np.testing.assert_allclose(got, np.concatenate([logits, logits]), atol=1e-4)


@pytest.mark.parametrize("colour", cifar.NORMALISED)
def test_a_picture_goes_through_the_processor_of_the_config(gateway: Running, colour: str) -> None:
    status, body = get(f"{gateway.url}/predictions/by-folder", cifar.jpeg(colour))
    answer = [(each["class"], round(each["probability"], 2)) for each in json.loads(body)]
    assert status == 200
    assert [label for label, _ in answer] == [label for label, _ in cifar.NORMALISED[colour]]
    assert [score for _, score in answer] == pytest.approx([s for _, s in cifar.NORMALISED[colour]], abs=0.01)


def test_a_recurrent_net_takes_its_states(gateway: Running, recorded: Path) -> None:
    inputs, [expected] = load_case(recorded / f"{RECURRENT}-symbol.json").calls[0]
    [got] = infer(gateway, "states", **inputs)
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_states_that_are_not_declared_begin_with_zeros(gateway: Running, recorded: Path) -> None:
    inputs, _ = load_case(recorded / f"{RECURRENT}-symbol.json").calls[0]
    [got] = infer(gateway, "begin-states", data0=inputs["data0"])
    np.testing.assert_allclose(got[-1, 0], LAST_STEP, atol=1e-5)


# -- onegate convert -------------------------------------------------------------------------------------------------


def test_json_of_a_conversion_tells_what_it_was_compared_with(recorded: Path, tmp_path: Path) -> None:
    source = str(recorded / f"{RECURRENT}-symbol.json")
    done = convert(tmp_path, source, "--input", "data0:FP32:4,1,3", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["framework"], answer["runtime"], answer["onnx"], answer["version"]) == ("mxnet", "onnx", True, 1)
    assert answer["inputs"] == [{"name": "data0", "datatype": "FP32", "shape": [4, 1, 3]}]
    assert (answer["parity"]["passed"], answer["parity"]["reference"]) == (True, "MXNet's operators in numpy")


def test_net_without_declared_inputs_is_asked_for_them_in_one_line(tmp_path: Path) -> None:
    cifar.write_net(tmp_path)
    done = convert(tmp_path, "cifar-0000.params")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "onegate: an MXNet graph carries no shapes: declare `inputs: [{name: data, datatype: FP32, "
        "shape: [-1, 3, H, W]}]`, with -1 for a size that differs between requests (on the command line --input "
        "NAME:DATATYPE:DIMS)\n"
    )


def test_unknown_operators_are_all_named_in_one_line(tmp_path: Path) -> None:
    net = Net()
    x = net.op("_contrib_Mystery", "first", net.variable("data"))
    net.save(tmp_path, "odd", net.op("Custom", "mine", net.op("_contrib_Mystery", "second", x), op_type="mine"))
    done = convert(tmp_path, "odd-0000.params", "--input", "data:FP32:-1,8")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "onegate: no translation for 2 of the model's MXNet operators: Custom (mine, whose Python code is not in the "
        "file); _contrib_Mystery (first, second)\n"
    )
