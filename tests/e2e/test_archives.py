"""Archives of MXNet Model Server and TorchServe behind `POST /predictions`, as their own clients call it, and hostile
ones beside them."""

from __future__ import annotations

import http.client
import json
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http

from tests.e2e import cifar, exports
from tests.e2e.running import ONEGATE, Running, running
from tests.serve.pictures import BLUE, RED, photograph
from tests.sources.archives_writing import (
    VISION_SERVICE,
    Files,
    mms,
    model_server_04,
    torchserve,
    write_folder,
    write_tgz,
    write_zip,
)
from tests.sources.mxnet_writing import Net

FORMS = ("zip", "tgz", "folder", "model04")
ESCAPED = "onegate-escaped.txt"


def cifar_archives(folder: Path) -> dict[str, Path]:
    """The CIFAR-10 net in every form of an archive: two with a copy of the standard service, two without."""
    plain = {**mms(), **cifar.archive_files()}
    copied = {**plain, "mxnet_vision_service.py": VISION_SERVICE}
    named = {"Symbol": "cifar-symbol.json", "Parameters": "cifar-0000.params"}
    old = {**model_server_04(**named), **cifar.archive_files()}
    unpacked = write_folder(folder / "cifar", copied)
    subprocess.run([ONEGATE, "archive", "pack", "cifar", "--output", "cifar.mar"], cwd=folder, check=True)
    return {
        "zip": folder / "cifar.mar",
        "tgz": write_tgz(folder / "cifar.tar.gz", plain, "cifar/"),
        "folder": unpacked,
        "model04": write_zip(folder / "cifar.model", old),
    }


def torchserve_archives(folder: Path) -> dict[str, Path]:
    """A classifier that takes the brightest channel, as ONNX and as TorchScript."""
    index = {"0": ["n0", "red"], "1": ["n1", "green"], "2": ["n2", "blue"]}
    script = exports.write("channel_means", folder / "means.pt").read_bytes()
    onnx = exports.write("channel_means_onnx", folder / "means.onnx").read_bytes()
    files: dict[str, Files] = {"means.onnx": {"means.onnx": onnx}, "means.pt": {"means.pt": script}}
    return {
        f"torchserve-{name.partition('.')[2]}": write_zip(
            folder / f"{name}.mar", {**torchserve(serializedFile=name), **content, "index_to_name.json": index}
        )
        for name, content in files.items()
    }


def json_archive(folder: Path) -> Path:
    """Twice the input, through the standard service for JSON."""
    net = Net()
    twice = net.op("_mul_scalar", "twice", net.variable("data"), scalar=2)
    params = net.save(folder, "twice", twice)
    signature = {"inputs": [{"data_name": "data", "data_shape": [0, 2]}], "input_type": "application/json"}
    pair = {path.name: path.read_bytes() for path in (params, folder / "twice-symbol.json")}
    return write_zip(folder / "twice.mar", {**mms("mxnet_model_service:handle"), **pair, "signature.json": signature})


def hostile_archives(folder: Path) -> dict[str, Path]:
    files = {**mms(), **cifar.archive_files()}
    outside = "../" * 20 + str(folder / ESCAPED)[1:]
    linked = write_folder(folder / "link", {name: files[name] for name in files if not name.endswith(".params")})
    (linked / "cifar-0000.params").symlink_to("/etc/hostname")
    with tarfile.open(folder / "link.mar", "w:gz") as archive:
        archive.add(linked, ".")
    lying = mms(extensions={"symbolFile": "other-symbol.json", "parametersFile": "cifar-0000.params"})
    return {
        "slip": write_zip(folder / "slip.mar", {**files, outside: "got out"}),
        "absolute": write_tgz(folder / "absolute.mar", {**files, str(folder / ESCAPED): "got out"}),
        "link": folder / "link.mar",
        "bomb": write_zip(folder / "bomb.mar", {**files, "zeros.bin": bytes(32 << 20)}),
        "lying": write_zip(folder / "lying.mar", {**files, **lying}),
    }


REASONS = {
    "slip": "onegate-escaped.txt' is no plain relative path: it may lead out of the folder",
    "absolute": "onegate-escaped.txt' is no plain relative path: it may lead out of the folder",
    "link": "source 'link.mar': member './cifar-0000.params' is a link; pack the file itself",
    "bomb": "source 'bomb.mar': member 'zeros.bin' inflates to more than 100 times its size, as a bomb does",
    "lying": "'MAR-INF/MANIFEST.json' names 'other-symbol.json' as symbol file, which is not in the archive",
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("archives")
    sources = torchserve_archives(folder) | cifar_archives(folder) | hostile_archives(folder)
    sources["twice"] = json_archive(folder)
    serve = {"batching": {"max_batch_size": 8}}
    models = [{"name": name, "source": str(path), "serve": serve} for name, path in sources.items()]
    with running(folder, {"store": "store", "models": models}) as started:
        started.wait_until_settled()
        yield started


def call(
    gateway: Running, path: str, body: bytes = b"", content_type: str = "image/jpeg", method: str = "POST"
) -> tuple[int, dict[str, str], Any]:
    """Status, headers, and the JSON of the body."""
    connection = http.client.HTTPConnection(gateway.url.removeprefix("http://"), timeout=40)
    try:
        connection.request(method, path, body, {"content-type": content_type})
        reply = connection.getresponse()
        return reply.status, {name.lower(): value for name, value in reply.getheaders()}, json.load(reply)
    finally:
        connection.close()


def assert_best(answer: list[dict[str, Any]], expected: cifar.Best) -> None:
    assert [each["class"] for each in answer] == [label for label, _ in expected]
    assert [each["probability"] for each in answer] == pytest.approx([score for _, score in expected], abs=5e-3)


# -- served ----------------------------------------------------------------------------------------------------------


def test_every_honest_archive_is_ready_as_onnx(gateway: Running) -> None:
    rows = {row["name"]: row for row in gateway.state()["models"] if row["name"] not in REASONS}
    assert {name: (row["state"], row["runtime"]) for name, row in rows.items()} == dict.fromkeys(
        (*FORMS, "torchserve-onnx", "torchserve-pt", "twice"), ("READY", "onnx")
    )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("colour", ["red", "blue"])
def test_a_jpeg_gets_the_five_best_classes_of_mxnet_from_every_form(gateway: Running, form: str, colour: str) -> None:
    status, headers, answer = call(gateway, f"/predictions/{form}", cifar.jpeg(colour))
    assert (status, headers["content-type"]) == (200, "application/json")
    assert_best(answer, cifar.AS_THEY_ARE[colour])


def test_the_answer_has_the_headers_of_model_server(gateway: Running) -> None:
    _, headers, _ = call(gateway, "/predictions/zip", cifar.jpeg("red"))
    expected = {
        "pragma": "no-cache",
        "cache-control": "no-cache; no-store, must-revalidate, private",
        "expires": "Thu, 01 Jan 1970 00:00:00 UTC",
    }
    assert {name: headers[name] for name in expected} == expected
    assert len(headers["x-request-id"]) == 36


@pytest.mark.parametrize("model", ["torchserve-onnx", "torchserve-pt"])
def test_torchserve_s_image_classifier_answers_label_by_probability(gateway: Running, model: str) -> None:
    status, _, answer = call(gateway, f"/predictions/{model}", photograph(RED).body)
    assert (status, list(answer)) == (200, ["red", "blue", "green"])
    assert list(answer.values()) == pytest.approx([0.9698, 0.0168, 0.0134], abs=2e-3)
    assert next(iter(call(gateway, f"/predictions/{model}", photograph(BLUE).body)[2])) == "blue"


def test_a_service_for_json_takes_values_by_the_input_s_name(gateway: Running) -> None:
    status, _, answer = call(gateway, "/predictions/twice", b'{"data": [[1, 2.5]]}', "application/json")
    assert (status, answer) == (200, [[2, 5]])


def test_infer_of_the_command_line_sends_a_picture(gateway: Running) -> None:
    (gateway.folder / "red.jpg").write_bytes(cifar.jpeg("red"))
    done = gateway.command("infer", "zip", "--input", "red.jpg")
    assert done.returncode == 0, done.stderr
    assert_best(json.loads(done.stdout), cifar.AS_THEY_ARE["red"])


def test_fifty_jpegs_at_once_each_get_their_own_answer_and_a_damaged_one_its_error(gateway: Running) -> None:
    colours = list(cifar.COLOURS) * 10
    bodies = [cifar.jpeg(colour) for colour in colours]
    bodies[17] = bodies[17][:400]
    with ThreadPoolExecutor(len(bodies)) as pool:
        replies = list(pool.map(lambda body: call(gateway, "/predictions/zip", body), bodies))
    assert [status for status, *_ in replies] == [200] * 17 + [400] + [200] * 32
    assert replies[17][2]["type"] == "BadRequestException"
    for place, (colour, (_, _, answer)) in enumerate(zip(colours, replies, strict=True)):
        if place != 17:
            assert_best(answer, cifar.AS_THEY_ARE[colour])


def test_tensors_through_v2_get_the_same_scores(gateway: Running) -> None:
    rows = np.concatenate([cifar.pixels("red"), cifar.pixels("blue")])
    with tritonclient.http.InferenceServerClient(gateway.url.removeprefix("http://")) as client:
        [output] = client.get_model_metadata("zip")["outputs"]
        sent = tritonclient.http.InferInput("data", list(rows.shape), "FP32").set_data_from_numpy(rows)
        scores = client.infer("zip", [sent]).as_numpy(output["name"])
    for row, colour in zip(scores, ("red", "blue"), strict=True):
        best = np.argsort(-row)[:5]
        assert_best(
            [{"class": cifar.CLASSES[index], "probability": row[index]} for index in best], cifar.AS_THEY_ARE[colour]
        )


# -- refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "method", "status", "kind", "message"),
    [
        ("/predictions/nobody", "POST", 404, "ModelNotFoundException", "Model not found: nobody"),
        (
            "/predictions/zip",
            "GET",
            405,
            "MethodNotAllowedException",
            "Requested method is not allowed, please refer to API document.",
        ),
        (
            "/predictions",
            "POST",
            404,
            "ResourceNotFoundException",
            "Requested resource is not found, please refer to API document.",
        ),
        (
            "/predictions/zip",
            "POST",
            400,
            "BadRequestException",
            "expected a picture (JPEG, PNG, WEBP, BMP, GIF), got 5 bytes that are of another kind: b'hello'",
        ),
    ],
    ids=["unknown_model", "method", "unknown_path", "no_picture"],
)
def test_what_is_wrong_is_told_as_model_server_tells_it(
    gateway: Running, path: str, method: str, status: int, kind: str, message: str
) -> None:
    told, headers, error = call(gateway, path, b"hello", method=method)
    assert (told, error) == (status, {"code": status, "type": kind, "message": message})
    assert headers["connection"] == "close"


@pytest.mark.parametrize("name", REASONS)
def test_a_hostile_archive_is_a_failed_model_whose_reason_names_the_member(gateway: Running, name: str) -> None:
    [row] = gateway.rows(name)
    assert row["state"] == "FAILED"
    assert REASONS[name] in row["reason"]
    assert "\n" not in row["reason"]


def test_a_call_of_a_failed_model_says_why(gateway: Running) -> None:
    status, _, error = call(gateway, "/predictions/link", cifar.jpeg("red"))
    assert (status, error["type"]) == (503, "ServiceUnavailableException")
    assert REASONS["link"] in error["message"]


def test_nothing_was_written_outside(gateway: Running) -> None:
    assert list(gateway.folder.rglob(ESCAPED)) == []
    assert list(Path(tempfile.gettempdir()).glob(f"**/{ESCAPED}")) == []
