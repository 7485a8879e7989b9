"""Clients of TorchServe, MXNet Model Server and SageMaker with the calls of those servers' own guides, by curl, against
one gateway a manner: what they register, call, scale and unregister."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import exports
from tests.e2e.running import Running, running
from tests.serve.pictures import BLUE, RED, photograph
from tests.serve.waiting import before_long
from tests.sources.archives_writing import Files, mms, torchserve, write_folder, write_zip
from tests.sources.mxnet_writing import Net


def curl(*words: str, body: bytes | None = None) -> tuple[int, Any]:
    """Status, and the body, read where it is JSON."""
    sent = ["--data-binary", "@-"] if body is not None else []
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--max-time", "60", "--write-out", "\n%{http_code}", *words, *sent],
        input=body,
        capture_output=True,
        check=True,
    )
    content, _, status = done.stdout.rpartition(b"\n")
    return int(status), json.loads(content)


def classifier(path: Path, model: bytes, version: str, red: str) -> Path:
    """An archive of TorchServe that names the brightest channel of a picture; the first has the name `red`."""
    index = {"0": ["n0", red], "1": ["n1", "green"], "2": ["n2", "blue"]}
    files = {**torchserve(serializedFile="means.onnx", modelName="colours", modelVersion=version)}
    return write_zip(path, {**files, "means.onnx": model, "index_to_name.json": index})


def scaler(folder: Path, factor: int) -> Files:
    """The files of an archive of MXNet Model Server: its JSON input times `factor`."""
    folder.mkdir()
    net = Net()
    scaled = net.op("_mul_scalar", "scaled", net.variable("data"), scalar=factor)
    params = net.save(folder, "net", scaled)
    signature = {"inputs": [{"data_name": "data", "data_shape": [0, 2]}], "input_type": "application/json"}
    pair = {path.name: path.read_bytes() for path in (params, folder / "net-symbol.json")}
    return {**mms("mxnet_model_service:handle", modelName="twice"), **pair, "signature.json": signature}


def gateway_of(folder: Path, manner: str) -> Iterator[Running]:
    """A gateway without models that says it is healthy; those to come lie in `model_store`."""
    gateway = {"management_on_endpoint": True, "model_server": manner, "model_folder": "model_store"}
    with running(folder, {"store": "store", "gateway": gateway, "models": []}) as started:
        started.wait_until_settled()
        assert before_long(lambda: curl(f"{started.url}/ping") == (200, {"status": "Healthy"}))
        yield started


# -- TorchServe ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def torch_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("torchserve")
    (folder / "model_store").mkdir()
    model = exports.write("channel_means_onnx", folder / "means.onnx").read_bytes()
    classifier(folder / "model_store" / "colours.mar", model, "1.0", "red")
    classifier(folder / "model_store" / "colours_v2.mar", model, "2.0", "rouge")
    yield from gateway_of(folder, "torchserve")


def best(url: str, picture: bytes) -> str:
    status, scores = curl("-X", "POST", url, body=picture)
    assert status == 200, scores
    return max(scores, key=scores.__getitem__)


def test_torchserve_s_guide_from_registration_to_unregistration(torch_gateway: Running) -> None:
    url, management = torch_gateway.url, torch_gateway.management
    assert curl("-X", "POST", f"{management}/models") == (
        400,
        {"code": 400, "type": "BadRequestException", "message": "Parameter url is required."},
    )
    assert curl("-X", "POST", f"{management}/models?url=colours.mar&initial_workers=1&synchronous=true") == (
        200,
        {"status": 'Model "colours" Version: 1.0 registered with 1 initial workers'},
    )
    assert curl("-X", "POST", f"{management}/models?url=colours.mar")[0] == 409
    assert best(f"{url}/predictions/colours", photograph(RED).body) == "red"

    assert curl("-X", "POST", f"{management}/models?url=colours_v2.mar") == (
        200,
        {
            "status": 'Model "colours" Version: 2.0 registered with 0 initial workers. Use scale workers API to add '
            "workers for the model."
        },
    )
    assert best(f"{url}/predictions/colours", photograph(RED).body) == "red"
    assert best(f"{url}/predictions/colours/2.0", photograph(RED).body) == "rouge"
    assert curl("-X", "PUT", f"{management}/models/colours/2.0/set-default") == (
        200,
        {"status": 'Default version successfully updated for model "colours" to "2.0"'},
    )
    assert best(f"{url}/predictions/colours", photograph(RED).body) == "rouge"

    status, described = curl(f"{management}/models/colours/all")
    assert (status, [version["modelVersion"] for version in described]) == (200, ["1.0", "2.0"])
    status, [described] = curl(f"{management}/models/colours")
    assert (status, described["modelVersion"], described["minWorkers"]) == (200, "2.0", 1)
    assert described["workers"][0]["status"] == "READY"

    assert curl("-X", "DELETE", f"{management}/models/colours/2.0") == (
        403,
        {
            "code": 403,
            "type": "InvalidModelVersionException",
            "message": "Cannot remove default version for model colours",
        },
    )
    assert curl("-X", "DELETE", f"{management}/models/colours/1.0") == (200, {"status": 'Model "colours" unregistered'})
    assert curl("-X", "POST", f"{url}/predictions/colours/1.0", body=photograph(RED).body)[0] == 404
    assert best(f"{url}/predictions/colours", photograph(BLUE).body) == "blue"


def test_torchserve_s_scaling_moves_a_model_to_replicas(torch_gateway: Running) -> None:
    """After the guide: version 2.0 is there."""
    management = torch_gateway.management
    assert curl("-X", "PUT", f"{management}/models/colours?min_worker=2&synchronous=true") == (
        200,
        {"status": "Workers scaled to 2 for model: colours"},
    )
    [described] = curl(f"{management}/models/colours")[1]
    assert (described["minWorkers"], len(described["workers"])) == (2, 2)
    assert best(f"{torch_gateway.url}/predictions/colours", photograph(BLUE).body) == "blue"
    assert curl("-X", "PUT", f"{management}/models/colours?min_worker=0")[0] == 400


def test_torchserve_s_explanations_need_a_handler(torch_gateway: Running) -> None:
    status, told = curl("-X", "POST", f"{torch_gateway.url}/explanations/colours", body=photograph(BLUE).body)
    assert (status, told["code"]) == (501, 501)


def test_torchserve_s_last_model_leaves(torch_gateway: Running) -> None:
    url, management = torch_gateway.url, torch_gateway.management
    assert curl(f"{url}/models")[1]["models"][0]["modelName"] == "colours"
    assert curl("-X", "DELETE", f"{management}/models/colours")[0] == 200
    assert curl(f"{url}/models") == (200, {"models": []})
    assert curl("-X", "POST", f"{url}/predictions/colours", body=b"")[0] == 404


# -- MXNet Model Server and SageMaker --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mms_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("mms")
    (folder / "model_store").mkdir()
    write_zip(folder / "model_store" / "twice.mar", scaler(folder / "two", 2))
    for name, factor in (("ab12", 3), ("cd34", 4)):
        write_folder(folder / "models" / name / "model", scaler(folder / name, factor))
    yield from gateway_of(folder, "mms")


def test_mms_s_guide_from_registration_to_unregistration(mms_gateway: Running) -> None:
    url, management = mms_gateway.url, mms_gateway.management
    assert curl("-X", "POST", f"{management}/models?url=twice.mar&initial_workers=1") == (
        200,
        {"status": "Workers scaled"},
    )
    assert curl("-X", "POST", f"{management}/models?url=twice.mar") == (
        409,
        {"code": 409, "type": "ConflictStatusException", "message": "Model twice is already registered."},
    )
    json_type = ("-H", "Content-Type: application/json")
    for path in ("/predictions/twice", "/twice/predict", "/invocations", "/models/twice/invoke"):
        assert curl("-X", "POST", url + path, *json_type, body=b'{"data": [[1, 2.5]]}') == (200, [[2, 5]])
    status, described = curl(f"{management}/models/twice")
    assert (status, described["modelName"], described["engine"]) == (200, "twice", "mxnet")
    assert curl("-X", "PUT", f"{management}/models/twice?min_worker=1") == (
        202,
        {"status": "Processing worker updates..."},
    )
    assert curl("-X", "DELETE", f"{management}/models/twice") == (200, {"status": 'Model "twice" unregistered'})
    assert curl(f"{management}/models/twice") == (
        404,
        {"code": 404, "type": "ModelNotFoundException", "message": "Model not found: twice"},
    )


def test_sagemaker_loads_lists_invokes_and_unloads_on_the_endpoint(mms_gateway: Running) -> None:
    url, json_type = mms_gateway.url, ("-H", "Content-Type: application/json")

    def load(name: str) -> int:
        wanted = {"model_name": name, "url": str(mms_gateway.folder / "models" / name / "model")}
        return curl("-X", "POST", f"{url}/models", *json_type, body=json.dumps(wanted).encode())[0]

    def invoke(name: str) -> tuple[int, Any]:
        target = ("-H", f"X-Amzn-SageMaker-Target-Model: {name}.tar.gz")
        return curl("-X", "POST", f"{url}/models/{name}/invoke", *json_type, *target, body=b'{"data": [[1, 2]]}')

    assert [load("ab12"), load("cd34"), load("ab12")] == [200, 200, 409]
    assert invoke("ab12") == (200, [[3, 6]])
    assert invoke("cd34") == (200, [[4, 8]])
    assert [model["modelName"] for model in curl(f"{url}/models")[1]["models"]] == ["ab12", "cd34"]
    page = curl(f"{url}/models?limit=1")[1]
    assert ([model["modelName"] for model in page["models"]], page["nextPageToken"]) == (["ab12"], "1")
    assert curl(f"{url}/models/ab12")[1]["modelUrl"].endswith("/models/ab12/model")
    assert curl("-X", "POST", f"{url}/invocations", *json_type, body=b"[1, 2]")[0] == 400
    assert curl("-X", "DELETE", f"{url}/models/ab12")[0] == 200
    assert curl("-X", "DELETE", f"{url}/models/ab12")[0] == 404
    assert invoke("ab12")[0] == 404
    assert invoke("cd34") == (200, [[4, 8]])
