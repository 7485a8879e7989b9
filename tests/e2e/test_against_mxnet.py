"""Conversions that are compared with MXNet itself, and a handler that runs it, in a virtual environment that has it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image

from serve.inference import Payload
from serve.runtimes.handler import HandlerRuntime
from tests.converters.mxnet.recorded import unpack
from tests.e2e import cifar
from tests.e2e.running import ONEGATE
from tests.serve.handler_archives import ask, folder_of, handler_manifest
from tests.serve.pictures import encoded
from tests.sources.archives_writing import as_bytes, model_server_04
from tests.sources.mxnet_writing import Net

MXNET = (
    "mxnet==1.9.1", "graphviz==0.8.4", "requests", "urllib3", "idna", "certifi", "charset-normalizer",
    "numpy==1.26.4", "setuptools==68.2.2",
)  # fmt: skip
INPUTS = {
    "ops/box_nms_per_class": ["data:FP32:-1,12,6"],
    "ops/rnn_gru_1_uni_states": ["data:FP32:4,-1,3", "h0:FP32:1,-1,5"],
    "old/tiny_json_0.8": ["data:FP32:-1,3,9,9"],
}
"""Recorded model -> how its inputs are declared."""

NORMALISING = """
    import builtins, numpy
    for name in ("bool", "object"):  # MXNet 1.9 was written for an older numpy
        setattr(numpy, name, getattr(builtins, name))
    import mxnet
    from mms.model_service.mxnet_vision_service import MXNetVisionService

    class NormalisingService(MXNetVisionService):
        def _preprocess(self, data):
            mean, std = (mxnet.nd.array(each).reshape((1, 3, 1, 1)) for each in MEAN_AND_STD)
            return [(array.astype("float32") / 255 - mean) / std for array in super()._preprocess(data)]

    MEAN_AND_STD = [0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010]
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The Python of a virtual environment with MXNet 1.9.1, and without onegate."""
    folder = tmp_path_factory.mktemp("mxnet") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    command = [
        str(folder / "bin/python"),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
    ]
    done = subprocess.run([*command, *MXNET], capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    return str(folder / "bin/python")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack(tmp_path_factory.mktemp("recorded"))


def convert(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`onegate convert` with a temporary folder of its own."""
    (folder / "tmp").mkdir(exist_ok=True)
    return subprocess.run(
        [ONEGATE, "convert", *words, "--store", "store"],
        cwd=folder, env=os.environ | {"TMPDIR": str(folder / "tmp")}, capture_output=True, text=True, check=False,
        timeout=120,
    )  # fmt: skip


@pytest.mark.parametrize("name", INPUTS)
def test_report_says_which_mxnet_the_model_agrees_with(python: str, recorded: Path, tmp_path: Path, name: str) -> None:
    declared = [word for given in INPUTS[name] for word in ("--input", given)]
    done = convert(tmp_path, str(recorded / f"{name}-0000.params"), *declared, "--against-mxnet", python, "--json")
    assert done.returncode == 0, done.stderr
    parity = json.loads(done.stdout)["parity"]
    assert (parity["passed"], parity["reference"]) == (True, "mxnet 1.9.1")
    assert list((tmp_path / "tmp").glob("onegate-*")) == []


def test_python_may_stand_in_the_config_beside_it(python: str, tmp_path: Path) -> None:
    cifar.write_net(tmp_path)
    (tmp_path / "mx").symlink_to(Path(python).parents[1])
    model = {"name": "net", "source": "cifar", "inputs": cifar.INPUTS, "convert": {"against_mxnet": "mx/bin/python"}}
    (tmp_path / "onegate.yaml").write_text(yaml.safe_dump({"models": [model]}))
    done = convert(tmp_path, "cifar", "--name", "net", "--config", "onegate.yaml")
    assert done.returncode == 0, done.stderr
    assert "compared with mxnet 1.9.1 at batches 1, 3, 64" in done.stdout


def test_model_that_mxnet_refuses_says_so(python: str, tmp_path: Path) -> None:
    net = Net()
    weight = net.weight("weight", 4, 3, 3, 2)
    given = {"kernel": (3, 3), "num_filter": 4, "no_bias": True, "layout": "NHWC"}  # MXNet has this for GPUs only
    net.save(tmp_path, "last", net.op("Convolution", "conv", net.variable("data"), weight, **given))
    words = ["last-0000.params", "--input", "data:FP32:-1,8,8,2"]
    done = convert(tmp_path, *words, "--against-mxnet", python)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("onegate: MXNet itself refuses the model: MXNetError: ")
    assert done.stderr.count("\n") == 1
    assert convert(tmp_path, *words).returncode == 0


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (sys.executable, f"{sys.executable} has no MXNet: No module named 'mxnet'"),
        ("/nowhere/python", "'/nowhere/python' can't be started: No such file or directory"),
        ("/bin/echo", "/bin/echo has no MXNet: it does not start"),
    ],
    ids=["without_mxnet", "not_there", "no_python"],
)
def test_wrong_python_is_refused_in_one_line(tmp_path: Path, wrong: str, reason: str) -> None:
    cifar.write_net(tmp_path)
    done = convert(tmp_path, "cifar", "--input", "data:FP32:-1,3,32,32", "--against-mxnet", wrong)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"onegate: --against-mxnet: {reason}\n")


def test_service_of_model_server_04_runs_mxnet_unmodified_in_the_python_that_has_it(
    python: str, tmp_path: Path
) -> None:
    named = {"Symbol": "cifar-symbol.json", "Parameters": "cifar-0000.params", "Service": "service.py"}
    files = {**model_server_04(**named), **cifar.archive_files()}
    folder_of(tmp_path, {"service.py": NORMALISING, **{name: as_bytes(content) for name, content in files.items()}})
    expected = cifar.NORMALISED
    runtime = HandlerRuntime(tmp_path, handler_manifest(entry="service.py", batch_size=1, python=python), threads=1)
    try:
        # Of the net's own size: OpenCV would resize in another way than Pillow.
        pictures = (Image.fromarray(cifar.pixels(colour)[0].transpose(1, 2, 0).astype("u1")) for colour in expected)
        replies = ask(runtime, *(Payload(encoded(picture), "image/png") for picture in pictures))
    finally:
        runtime.close()
    assert [reply.status for reply in replies] == [200, 200, 200]
    for reply, best in zip(replies, expected.values(), strict=True):
        answer = json.loads(reply.body)
        assert [each["class"] for each in answer] == [label for label, _ in best]
        assert [each["probability"] for each in answer] == pytest.approx([score for _, score in best], abs=5e-3)
