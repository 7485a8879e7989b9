"""The base install, no framework, from the wheel and outside of the repository: it serves versions that were converted
elsewhere into the store, and converts MXNet models and archives itself."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http
from packaging.utils import canonicalize_name

from converters.base import ConversionOptions
from converters.publish import convert_and_publish
from model_store.store import Store
from tests.e2e import cifar, exports
from tests.e2e.running import Running, get, running
from tests.frameworks import FRAMEWORKS
from tests.release import bill_of_materials, distributions
from tests.release.requirements import base_install
from tests.sources.archives_writing import mms, write_zip

ROOT = Path(__file__).parents[2]
EPOCH = 1_700_000_000
SOURCES = {"digits": "digits.pt2", "digits-keras": "digits.keras", "digits-sklearn": "digits.skops"}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The bin folder of an environment that has the wheel and what it needs, and not even pip."""
    folder = tmp_path_factory.mktemp("base")
    _, wheel, _ = distributions.build(ROOT, folder / "dist", EPOCH)
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("PYTHONPATH", raising=False)  # no way back into the repository
        yield bill_of_materials.install(str(wheel), folder / "venv").parent


def test_the_base_install_brings_no_framework(base: Path) -> None:
    code = f"import importlib.util as u; print([name for name in {sorted(FRAMEWORKS)!r} if u.find_spec(name)])"
    done = subprocess.run([str(base / "python"), "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_package_is_the_wheel_s_and_knows_its_version(base: Path, tmp_path: Path) -> None:
    code = "import serve, serve.version as v; print(serve.__file__, v.VERSION)"
    command = [str(base / "python"), "-W", "error", "-c", code]
    file, version = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.split()
    assert Path(file).is_relative_to(base.parent)
    assert version == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    shown = subprocess.run([str(base / "onegate"), "--version"], capture_output=True, text=True, check=True)
    assert shown.stdout == f"onegate, version {version}\n"


def test_the_bill_of_materials_lists_what_the_requirements_bring_as_pinned(base: Path, tmp_path: Path) -> None:
    count = bill_of_materials.write(base / "python", tmp_path / "bill.json", EPOCH)
    bill = json.loads((tmp_path / "bill.json").read_text())
    assert (bill["bomFormat"], bill["metadata"]["component"]["name"]) == ("CycloneDX", "onegate")
    listed = {canonicalize_name(each["name"]): each["version"] for each in bill["components"]}
    assert listed.keys() == base_install().keys()
    assert count == len(listed)
    pins = dict(re.findall(r"^(\S+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    assert listed.items() <= {canonicalize_name(name): version for name, version in pins.items()}.items()


@pytest.fixture(scope="module")
def gateway(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The gateway of the base install: versions made here, and an archive that it converts itself."""
    folder = tmp_path_factory.mktemp("gateway")
    store = Store.open(str(folder / "store"))
    for name, file in SOURCES.items():
        convert_and_publish(store, name, ROOT / "examples/quickstart" / file, ConversionOptions())
    boosted = exports.write("xgboost", folder / "step.json")
    convert_and_publish(store, "native", boosted, ConversionOptions(to="native"))
    models: list[dict[str, Any]] = [{"name": name, "versions": [{"version": 1}]} for name in (*SOURCES, "native")]
    models[-1]["serve"] = {"executor": "inline"}  # so that the reason comes at once, and not after a replica's restarts
    archive = write_zip(folder / "cifar.mar", {**mms(), **cifar.archive_files()})
    models.append({"name": "cifar", "source": str(archive), "serve": {"batching": {"max_batch_size": 8}}})
    with running(folder, {"store": "store", "models": models}, onegate=base / "onegate") as started:
        started.wait_until_settled()
        yield started


def test_versions_converted_elsewhere_are_served(gateway: Running) -> None:
    state = {row["name"]: row["state"] for row in gateway.state()["models"]}
    assert [state[name] for name in SOURCES] == ["READY"] * 3
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


def test_native_version_says_what_it_needs(gateway: Running) -> None:
    [row] = gateway.rows("native")
    assert row["state"] == "FAILED"
    assert "the library 'xgboost' is not installed here: pip install 'onegate[boosting]'" in row["reason"]


def test_archive_of_model_server_is_converted_here_and_answers_a_jpeg(gateway: Running) -> None:
    [row] = gateway.rows("cifar")
    assert (row["state"], row["framework"], row["runtime"]) == ("READY", "mxnet", "onnx")
    status, body = get(f"{gateway.url}/predictions/cifar", cifar.jpeg("red"), {"content-type": "image/jpeg"})
    assert status == 200
    assert [each["class"] for each in json.loads(body)] == [label for label, _ in cifar.AS_THEY_ARE["red"]]


def test_mxnet_net_is_converted_by_the_command(base: Path, tmp_path: Path) -> None:
    cifar.write_net(tmp_path)
    command = ["convert", "cifar", "--input", "data:FP32:-1,3,32,32", "--store", "store"]
    done = subprocess.run(
        [str(base / "onegate"), *command], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("cifar: mxnet converted to version 1 (")
    assert "compared with MXNet's operators in numpy at batches 1, 3, 64" in done.stdout
