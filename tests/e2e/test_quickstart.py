"""The quickstart, as the README tells it: six models of six frameworks behind one address.

The pages of the documentation are run beside the same gateway: first what they ask the quickstart's models, and at the
end, as that changes what is served, what each page serves itself. What needs no gateway: `tests/pages/`.
"""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
import tritonclient.http
import yaml
from PIL import Image
from sklearn.datasets import load_digits

from serve.dialects.open_inference_grpc import decode_response, encode_request
from serve.protocols import open_inference
from tests.e2e.running import Running, running
from tests.pages.beside import beside
from tests.pages.blocks import PAGES, blocks_of, page_name

ROOT = Path(__file__).parents[2]
DIGITS = ["digits", "digits-keras", "digits-sklearn", "digits-lightgbm", "digits-mlp"]
MODELS = [*DIGITS, "cifar"]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("quickstart")
    config = yaml.safe_load((ROOT / "configs/quickstart.yaml").read_text())
    config["store"] = "store"
    for model in config["models"]:
        for key in ("source", "examples", "labels"):
            if key in model:
                model[key] = str((ROOT / "configs" / model[key]).resolve())
    with running(folder, config) as started:
        started.wait_until_settled()
        yield started


def test_status_lists_six_ready_models(gateway: Running) -> None:
    status = json.loads(gateway.command("status", "--json").stdout)
    assert status["gateway"] == {"http": gateway.url, "grpc": gateway.grpc, "management": gateway.management}
    assert [row["name"] for row in status["models"]] == MODELS
    for row in status["models"]:
        assert (row["state"], row["runtime"], row["default"], row["traffic"]) == ("READY", "onnx", True, 100)
        assert row["replicas"] == {"ready": 1, "wanted": 1, "min": 1, "max": 1}
        assert row["max_rel_error"] < 1e-5


def test_printed_curl_line_answers_the_right_digit(gateway: Running) -> None:
    [line] = [line for line in gateway.log.read_text().splitlines() if line.startswith("curl ")]
    done = subprocess.run(shlex.split(line), capture_output=True, text=True, timeout=30, check=True)
    outputs = {output["name"]: output for output in json.loads(done.stdout)["outputs"]}
    pixels = np.load(ROOT / "examples/quickstart/digit.npz")["image"].reshape(64)
    [truth] = [label for image, label in zip(*load_digits(return_X_y=True), strict=True) if (image == pixels).all()]
    assert outputs["digit"]["data"] == [truth]


def test_the_mxnet_net_sees_a_cat_in_a_picture(gateway: Running) -> None:
    picture = ROOT / "examples/quickstart/cat.jpg"
    command = ["curl", "-s", f"{gateway.url}/predictions/cifar", "-T", str(picture)]
    answer = json.loads(subprocess.run(command, capture_output=True, timeout=30, check=True).stdout)
    assert answer[0]["class"] == "cat"
    assert answer[0]["probability"] > 0.9
    assert len(answer) == 3


def test_every_model_knows_most_digits(gateway: Running) -> None:
    images, labels = load_digits(return_X_y=True)
    images, labels = images[:200].astype(np.float32), labels[:200]
    for name in DIGITS:
        with tritonclient.http.InferenceServerClient(gateway.url.removeprefix("http://")) as client:
            [described] = client.get_model_metadata(name)["inputs"]
            tensor = images.reshape([-1, *described["shape"][1:]])
            sent = tritonclient.http.InferInput(described["name"], tensor.shape, "FP32").set_data_from_numpy(tensor)
            result = client.infer(name, [sent])
            outputs = [result.as_numpy(output["name"]) for output in result.get_response()["outputs"]]
        [answered] = [out if out.ndim == 1 else out.argmax(1) for out in outputs if out.ndim == 1 or len(outputs) == 1]
        assert (answered.astype(int) == labels).mean() > 0.9, name


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_tritonclient_gets_metadata_readiness_and_answers(gateway: Running, binary: bool) -> None:
    image = np.load(ROOT / "examples/quickstart/digit.npz")["image"]
    with tritonclient.http.InferenceServerClient(gateway.url.removeprefix("http://")) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("digits")
        assert client.is_model_ready("digits", "1")
        assert not client.is_model_ready("digits", "2")
        assert client.get_server_metadata()["name"] == "onegate"
        assert client.get_model_metadata("digits")["versions"] == ["1"]
        sent = tritonclient.http.InferInput("image", image.shape, "FP32").set_data_from_numpy(image, binary_data=binary)
        wanted = [tritonclient.http.InferRequestedOutput(name, binary_data=binary) for name in ("scores", "digit")]
        for outputs in (wanted, None):
            result = client.infer("digits", [sent], outputs=outputs, request_id="a1")
            assert result.get_response()["id"] == "a1"
            assert result.as_numpy("scores").shape == (1, 10)
            assert result.as_numpy("digit") == result.as_numpy("scores").argmax(1)


def test_infer_takes_npz_npy_json_and_an_image(gateway: Running, tmp_path: Path) -> None:
    image = np.load(ROOT / "examples/quickstart/digit.npz")["image"]
    np.save(tmp_path / "digit.npy", image)
    (tmp_path / "digit.json").write_text(json.dumps({"image": image.tolist()}))
    Image.fromarray((image[0, 0] * 15).astype(np.uint8)).save(tmp_path / "digit.png")
    files = [
        ROOT / "examples/quickstart/digit.npz",
        ROOT / "examples/quickstart/digit.json",
        tmp_path / "digit.npy",
        tmp_path / "digit.json",
        tmp_path / "digit.png",
    ]
    answers = set()
    for file in files:
        scale = ["--scale", str(1 / 15)] if file.suffix == ".png" else []
        done = gateway.command("infer", "digits", "--input", str(file), "--json", *scale)
        assert done.returncode == 0, done.stderr
        answers.add(json.loads(done.stdout)["outputs"][0]["data"][0])
    assert len(answers) == 1


def test_infer_with_a_wrong_file_fails_in_one_line(gateway: Running, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("no tensor")
    done = gateway.command("infer", "digits", "--input", str(tmp_path / "text.txt"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"onegate: {tmp_path / 'text.txt'}: expected a .npz, .npy, .csv, .json or image file\n"


def test_versions_shows_the_parity_report(gateway: Running) -> None:
    [version] = json.loads(gateway.command("versions", "digits", "--store", "store", "--json").stdout)
    assert (version["version"], version["framework"], version["runtime"]) == (1, "pytorch", "onnx")
    assert version["parity"]["passed"]
    assert version["parity"]["batches"] == [1, 3, 64]
    assert version["row_independent"]


def test_apply_of_the_same_config_changes_nothing(gateway: Running) -> None:
    done = gateway.command("apply", "onegate.yaml", "--plan")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [*(f"= {name}" for name in MODELS), f"Plan: {len(MODELS)} unchanged"]


def test_convert_of_a_known_source_gives_the_same_version(gateway: Running) -> None:
    source = str(ROOT / "examples/quickstart/digits-mlp.onnx")
    done = gateway.command("convert", source, "--name", "digits-mlp", "--store", "store", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert {"name", "version", "framework", "runtime", "onnx", "opset", "parity", "row_independent", "inputs",
            "outputs", "seconds", "reason"} <= answer.keys()  # fmt: skip
    assert (answer["version"], answer["onnx"], answer["converted"], answer["reason"]) == (1, True, False, None)


def test_endpoint_speaks_open_inference_over_grpc(gateway: Running) -> None:
    image = np.load(ROOT / "examples/quickstart/digit.npz")["image"]
    with grpc.insecure_channel(gateway.grpc) as channel:
        infer = channel.unary_unary(
            f"/{open_inference.SERVICE}/ModelInfer",
            request_serializer=None,
            response_deserializer=open_inference.ModelInferResponse.FromString,
        )
        answer = infer(encode_request("digits", 1, {"image": image}).SerializeToString(), timeout=30)
    outputs = decode_response(answer)
    assert list(outputs) == ["digit", "scores"]
    assert outputs["digit"] == outputs["scores"].argmax(1)


def _pages(kind: str) -> pytest.MarkDecorator:
    pages = [page for page in PAGES if any(block.kind == kind for block in blocks_of(page))]
    return pytest.mark.parametrize("page", pages, ids=page_name)


@_pages("quickstart")
def test_page_calls_the_quickstart_as_it_is_written(page: Path, gateway: Running, tmp_path: Path) -> None:
    beside(gateway, tmp_path).run([block for block in blocks_of(page) if block.kind == "quickstart"])


@_pages("gateway")
def test_page_serves_its_own_models_as_it_is_written(page: Path, gateway: Running, tmp_path: Path) -> None:
    blocks = [block for block in blocks_of(page) if block.kind in ("run", "gateway", "file")]
    beside(gateway, tmp_path).run(blocks)
