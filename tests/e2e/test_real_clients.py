"""Clients that know nothing of onegate against one gateway with models of two frameworks: Triton's, KServe's, scripts
written for TensorFlow Serving, and curl."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from sklearn.datasets import load_digits
from tritonclient.utils import InferenceServerException

from tests.e2e.running import Running, running

QUICKSTART = Path(__file__).parents[2] / "examples/quickstart"
CALLS = Path(__file__).with_name("kserve_calls.py")
KSERVE = [
    "kserve==0.21.0",
    "cloudevents==1.13.0",
    "deprecation==2.1.0",
    "durationpy==0.11",
    "grpc-interceptor==0.15.4",
    "httpcore==1.0.9",
    "httpx==0.28.1",
    "kubernetes==37.0.1",
    "oauthlib==4.0.1",
    "orjson==3.13.0",
    "requests-oauthlib==2.0.0",
    "tabulate==0.10.0",
    "timing-asgi==0.3.2",
    "websocket-client==1.9.2",
]
"""The package, and of what it imports that which is not here anyway."""

MODELS = {"onnx-digits": "digits-mlp.onnx", "sklearn-digits": "digits.skops"}
IMAGES, DIGITS = (array[:5] for array in load_digits(return_X_y=True))
PIXELS = IMAGES.astype(np.float32)


@pytest.fixture(scope="module")
def kserve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """The folder that KServe's package gets into, and the installation under way: the gateway starts meanwhile."""
    folder, scratch = tmp_path_factory.mktemp("kserve"), tmp_path_factory.mktemp("pip")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--no-compile",
    ]
    with subprocess.Popen(
        [*pip, "--target", folder, *KSERVE],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # What is left when it has to be ended early.
        env=os.environ | {"TMPDIR": str(scratch)},
    ) as installing:
        yield folder, installing
        installing.kill()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, kserve: object) -> Iterator[Running]:
    models = [
        {"name": name, "source": str(QUICKSTART / file), "serve": {"executor": "inline"}}
        for name, file in MODELS.items()
    ]
    config = {"store": "store", "gateway": {"management_on_endpoint": True}, "models": models}
    with running(tmp_path_factory.mktemp("clients"), config) as started:
        started.wait_until_settled()
        yield started


# -- Triton ----------------------------------------------------------------------------------------------------------


@pytest.fixture(params=[tritonclient.http, tritonclient.grpc], ids=["http", "grpc"])
def triton(request: pytest.FixtureRequest, gateway: Running) -> Iterator[tuple[ModuleType, Any]]:
    """A module of Triton's clients, and its client."""
    over_http = request.param is tritonclient.http
    target = gateway.url.removeprefix("http://") if over_http else gateway.grpc
    with request.param.InferenceServerClient(target) as client:
        yield request.param, client


def digits(module: ModuleType, client: Any, model: str = "onnx-digits", input: str = "pixels") -> list[int]:
    """Which digits the model sees."""
    given = module.InferInput(input, list(PIXELS.shape), "FP32").set_data_from_numpy(PIXELS)
    result = client.infer(model, [given])
    scores = result.as_numpy("scores" if model == "onnx-digits" else "probabilities")
    found: list[int] = scores.argmax(1).tolist()
    return found


def states(client: Any) -> dict[str, str]:
    index = client.get_model_repository_index()
    if isinstance(index, list):
        return {each["name"]: each["state"] for each in index}
    return {each.name: each.state for each in index.models}


def test_triton_s_clients_call_models_of_both_frameworks(triton: tuple[ModuleType, Any]) -> None:
    module, client = triton
    assert client.is_server_ready()
    assert digits(module, client) == DIGITS.tolist()
    assert digits(module, client, "sklearn-digits", "input") == DIGITS.tolist()


def test_triton_s_clients_unload_a_model_and_load_it_again(triton: tuple[ModuleType, Any]) -> None:
    module, client = triton
    assert states(client) == {"onnx-digits": "READY", "sklearn-digits": "READY"}
    client.unload_model("onnx-digits")
    assert eventually_unloaded(client)
    assert client.is_model_ready("onnx-digits") is False
    with pytest.raises(InferenceServerException, match="model 'onnx-digits' is not served here"):
        digits(module, client)
    assert digits(module, client, "sklearn-digits", "input") == DIGITS.tolist()
    client.load_model("onnx-digits")
    assert client.is_model_ready("onnx-digits") is True
    assert digits(module, client) == DIGITS.tolist()
    assert states(client) == {"onnx-digits": "READY", "sklearn-digits": "READY"}


def eventually_unloaded(client: Any) -> bool:
    """An unload returns before memory is free."""
    end = time.monotonic() + 10
    while states(client)["onnx-digits"] != "UNAVAILABLE":
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


# -- KServe ----------------------------------------------------------------------------------------------------------


def test_kserve_s_clients_are_answered(gateway: Running, kserve: tuple[Path, subprocess.Popen[str]]) -> None:
    folder, installing = kserve
    _, errors = installing.communicate(timeout=100)
    assert installing.returncode == 0, errors[-2000:]
    done = subprocess.run(
        [sys.executable, CALLS, gateway.url, gateway.grpc, "sklearn-digits", "input"],
        input=json.dumps(PIXELS.tolist()),
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": str(folder)},
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    over_http, over_grpc = told["http"], told["grpc"]
    assert [over_http[each] for each in ("live", "ready", "model ready", "nobody ready")] == [True, True, True, False]
    assert [over_grpc[each] for each in ("live", "ready", "model ready")] == [True, True, True]
    for answer in (over_http["json"], over_http["binary"], over_grpc["typed"], over_grpc["raw"]):
        assert (answer["model"], answer["id"]) == ("sklearn-digits", "k1")
        assert answer["outputs"]["label"] == DIGITS.tolist()
        assert np.argmax(answer["outputs"]["probabilities"], 1).tolist() == DIGITS.tolist()
    assert [row["label"] for row in over_http["v1"]["predictions"]] == DIGITS.tolist()


# -- scripts ---------------------------------------------------------------------------------------------------------


def test_a_script_for_tensorflow_serving_is_answered(gateway: Running) -> None:
    def ask(path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(f"{gateway.url}/v1/models/{path}", data, timeout=30) as reply:
            return json.load(reply)

    [version] = ask("onnx-digits")["model_version_status"]
    assert (version["version"], version["state"]) == ("1", "AVAILABLE")
    rows = PIXELS.tolist()
    scores = ask("onnx-digits:predict", {"instances": rows})["predictions"]
    assert np.argmax(scores, 1).tolist() == DIGITS.tolist()
    outputs = ask("sklearn-digits/versions/1:predict", {"inputs": {"input": rows}})["outputs"]
    assert outputs["label"] == DIGITS.tolist()
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask("nobody:predict", {"instances": rows})
    with refused.value as reply:
        assert (reply.code, json.load(reply)) == (404, {"error": "Servable not found for request: Latest(nobody)"})


def curl(*words: str, body: bytes | None = None) -> Any:
    sent = ["--data-binary", "@-"] if body is not None else []
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--fail", "--max-time", "30", *words, *sent],
        input=body,
        capture_output=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_curl_is_answered(gateway: Running) -> None:
    rows = json.dumps(PIXELS.tolist()).encode()
    assert curl(f"{gateway.url}/ping") == {"status": "Healthy"}
    answer = curl(f"{gateway.url}/predict/sklearn-digits", body=rows)
    assert (answer["model"], answer["outputs"]["label"]) == ("sklearn-digits", DIGITS.tolist())
    table = "\n".join(",".join(str(value) for value in row) for row in PIXELS.tolist()).encode()
    answer = curl("-H", "Content-Type: text/csv", f"{gateway.url}/predict/sklearn-digits", body=table)
    assert answer["outputs"]["label"] == DIGITS.tolist()
    for path in ("/predictions/sklearn-digits", "/models/sklearn-digits/invoke", "/sklearn-digits/predict"):
        assert curl("-X", "POST", gateway.url + path, body=rows)["label"] == DIGITS.tolist()
