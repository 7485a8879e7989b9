"""Archives of model servers: the model inside goes to its own converter, code of their own to the handler runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.archive.converter import ArchiveConverter
from converters.archive.payloads import find_payload
from converters.base import ConversionOptions, detect, load_converter
from converters.publish import Published
from model_store.archives import open_archive
from model_store.errors import Unsupported
from model_store.manifest import ImageProcessor, JsonProcessor, TensorSpec
from tests.converters.archives import convert, refusal
from tests.sources.archives_writing import (
    IMAGE_SIGNATURE,
    VISION_SERVICE,
    Files,
    means_onnx,
    mms,
    model_server_04,
    torchserve,
    write_folder,
    write_tgz,
    write_zip,
)
from tests.sources.mxnet_writing import perceptron

PICTURE = np.arange(2 * 3 * 8 * 8, dtype=np.float32).reshape(2, 3, 8, 8)
ONNX_IN_MMS: Files = {
    **mms(),
    "net.onnx": means_onnx(),
    "signature.json": IMAGE_SIGNATURE,
    "synset.txt": "red\ngreen\nblue\n",
}


@pytest.mark.parametrize("write", [write_zip, write_tgz, write_folder])
def test_an_archive_is_detected_before_what_it_holds(tmp_path: Path, write: Callable[[Path, Files], Path]) -> None:
    assert detect(write(tmp_path / "model.bin", ONNX_IN_MMS)).framework == "archive"


def test_its_revision_grows_with_that_of_the_converters_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    before = ArchiveConverter().revision
    monkeypatch.setattr(load_converter("onnx"), "revision", load_converter("onnx").revision + 1)
    assert ArchiveConverter().revision == before + 1


def test_an_onnx_model_of_mms_is_published_with_its_processor_and_labels(
    tmp_path: Path, publish: Callable[..., Published], answers: Callable[..., dict[str, np.ndarray]]
) -> None:
    published = publish(write_zip(tmp_path / "net.mar", ONNX_IN_MMS))
    manifest = published.manifest
    assert (manifest.framework, manifest.runtime, manifest.source_name) == ("onnx", "onnx", "net.mar")
    assert manifest.processor == ImageProcessor(style="mms", top=5)
    assert manifest.labels == ("red", "green", "blue")
    np.testing.assert_allclose(answers(published, {"data": PICTURE})["scores"], PICTURE.mean((2, 3)), rtol=1e-5)


def test_an_onnx_model_of_torchserve_is_converted_with_the_image_classifier(tmp_path: Path) -> None:
    files = {**torchserve(serializedFile="net.onnx"), "net.onnx": means_onnx(), "index_to_name.json": {"0": "red"}}
    conversion = convert(tmp_path, files)
    assert (conversion.framework, conversion.runtime, conversion.labels) == ("onnx", "onnx", ("red",))
    assert conversion.processor == ImageProcessor(
        style="torchserve",
        top=5,
        height=224,
        width=224,
        resize_shorter=256,
        scale=1 / 255,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        softmax=True,
    )


def script(path: Path) -> bytes:
    """scores[n, 3] = mean of each channel of `image`, as TorchScript."""
    torch = pytest.importorskip("torch")

    class Means(torch.nn.Module):  # type: ignore[misc,name-defined]
        def forward(self, image: Any) -> Any:
            return image.mean([2, 3])

    torch.jit.trace(Means(), torch.zeros(1, 3, 224, 224)).save(path)
    return path.read_bytes()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_for_the_image_classifier_needs_no_declared_inputs(
    tmp_path: Path, publish: Callable[..., Published]
) -> None:
    files = {**torchserve(serializedFile="net.pt"), "net.pt": script(tmp_path / "net.pt")}
    manifest = publish(write_zip(tmp_path / "net.mar", files)).manifest
    assert (manifest.framework, manifest.runtime) == ("pytorch", "onnx")
    assert manifest.signatures["serving_default"].inputs == (TensorSpec("image", "FP32", (-1, 3, 224, 224)),)


NETWORK = """
import torch

class Scale(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.factor = torch.nn.Parameter(torch.ones(1))

    def forward(self, image):
        return image.mean([2, 3]) * self.factor
"""


def weights(path: Path) -> bytes:
    torch = pytest.importorskip("torch")
    torch.save({"factor": torch.full((1,), 2.0)}, path)
    return path.read_bytes()


def test_a_state_dict_with_its_class_in_the_archive_needs_trust(tmp_path: Path) -> None:
    files = {**torchserve(serializedFile="net.pth", modelFile="network.py"), "network.py": NETWORK}
    files["net.pth"] = weights(tmp_path / "net.pth")
    message = refusal(tmp_path, files)
    assert "network is code that it carries (network.py): say `trust: true`" in message


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_trusted_state_dict_meets_the_class_of_the_archive(tmp_path: Path) -> None:
    files = {**torchserve(serializedFile="net.pth", modelFile="network.py"), "network.py": NETWORK}
    files["net.pth"] = weights(tmp_path / "net.pth")
    conversion = convert(tmp_path, files, trust=True)
    assert conversion.signature.inputs == (TensorSpec("image", "FP32", (-1, 3, 224, 224)),)
    answer = conversion.reference({"image": np.ones((1, 3, 224, 224), np.float32)})
    assert [array.tolist() for array in answer.values()] == [[[2.0, 2.0, 2.0]]]


@pytest.mark.parametrize(("code", "names"), [("", "none"), ("class A: pass\nclass B: pass", "A, B")])
def test_a_model_file_without_its_one_class_is_refused(tmp_path: Path, code: str, names: str) -> None:
    files = {**torchserve(serializedFile="net.pth", modelFile="network.py"), "network.py": code}
    files["net.pth"] = weights(tmp_path / "net.pth")
    assert f"'network.py': expected one class, the network, got {names}" in refusal(tmp_path, files, trust=True)


MXNET_CALL = {"inputs": [{"data_name": "data", "data_shape": [1, 8]}], "input_type": "application/json"}


def mxnet_archives(tmp_path: Path) -> dict[str, Files]:
    """One net of MXNet as each server packs it."""
    parameters = perceptron(tmp_path, "mlp")
    pair = parameters.with_name("mlp-symbol.json").read_bytes(), parameters.read_bytes()
    old = model_server_04(Symbol="graph.json", Parameters="weights.bin", Service="mxnet_model_service.py")
    return {
        "mms": {**mms(), "mlp-symbol.json": pair[0], "mlp-0000.params": pair[1], "signature.json": MXNET_CALL},
        "mms 0.4": {**old, "graph.json": pair[0], "weights.bin": pair[1], "signature.json": MXNET_CALL},
    }


@pytest.mark.parametrize("case", ["mms", "mms 0.4"])
def test_an_mxnet_net_is_converted_with_the_inputs_of_its_signature(
    tmp_path: Path, publish: Callable[..., Published], answers: Callable[..., dict[str, np.ndarray]], case: str
) -> None:
    source = write_zip(tmp_path / "net.mar", mxnet_archives(tmp_path)[case])
    published = publish(source)
    manifest = published.manifest
    assert (manifest.framework, manifest.runtime, manifest.processor) == ("mxnet", "onnx", JsonProcessor())
    data = TensorSpec("data", "FP32", (-1, 8))
    assert manifest.signatures["serving_default"].inputs == (data,)
    plain = load_converter("mxnet").convert(tmp_path / "mlp-0000.params", ConversionOptions(inputs=(data,)), tmp_path)
    rows = np.linspace(-1, 1, 24, dtype=np.float32).reshape(3, 8)
    for name, expected in plain.reference({"data": rows}).items():
        np.testing.assert_allclose(answers(published, {"data": rows})[name], expected, rtol=1e-4, atol=1e-6)


MXNET_MODELS: dict[str, Files] = {
    "mms 1.0, highest epoch": {
        **mms(), "net-symbol.json": "S", "net-0003.params": "3", "net-0010.params": "10", "other-0099.params": "99",
    },
    "mms 1.0, named in the manifest": {
        **mms(extensions={"symbolFile": "net-symbol.json", "parametersFile": "net-0010.params"}),
        "net-symbol.json": "S", "net-0010.params": "10", "b-symbol.json": "", "b-0000.params": "",
    },
    "mms 0.4": {**model_server_04(Parameters="net-0010.params"), "net-symbol.json": "S", "net-0010.params": "10"},
    "mms 0.4, names without a prefix": {
        **model_server_04(Symbol="graph.json", Parameters="weights.bin"), "graph.json": "S", "weights.bin": "10",
    },
    "mms 0.4, other prefixes": {
        **model_server_04(Symbol="a-symbol.json", Parameters="b-0007.params"), "a-symbol.json": "S",
        "b-0007.params": "10",
    },
}  # fmt: skip


@pytest.mark.parametrize("case", MXNET_MODELS)
def test_the_pair_of_mxnet_is_found(tmp_path: Path, case: str) -> None:
    archive = open_archive(write_zip(tmp_path / "net.mar", MXNET_MODELS[case]), tmp_path / "out")
    payload = find_payload(archive, tmp_path / "work")
    prefix = payload.name.rpartition("-")[0]
    assert payload.read_text() == "10"
    assert (payload.parent / f"{prefix}-symbol.json").read_text() == "S"


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({**mms(), "a-symbol.json": "", "a-0000.params": "", "b-symbol.json": "", "b-0000.params": ""},
         "holds 2 MXNet models (a, b): name one in its manifest"),
        ({**mms(), "a-symbol.json": ""}, "holds a-symbol.json and no a-0000.params"),
        ({**mms(), "a.onnx": "", "b.onnx": ""}, "holds 2 models (a.onnx, b.onnx): name one in its manifest"),
        (mms(), "holds no model that can be converted: expected an MXNet pair, .onnx, got MAR-INF/MANIFEST.json"),
        (torchserve(), "holds no model that can be converted: expected .pt2, .pt, .onnx, .pth"),
        ({**model_server_04(**{"Model-Format": "Gluon-Imperative", "Symbol": "", "Parameters": "net-0000.params"}),
          "net-0000.params": "p"}, "is Gluon-Imperative: its network is Python code and it holds no graph"),
    ],
)  # fmt: skip
def test_an_archive_without_its_one_model_is_refused(tmp_path: Path, files: Files, words: str) -> None:
    assert words in refusal(tmp_path, files)


def test_the_native_way_is_that_of_the_model_inside(tmp_path: Path) -> None:
    source = write_zip(tmp_path / "net.mar", ONNX_IN_MMS)
    with pytest.raises(Unsupported, match="onnx models are served by ONNX Runtime only"):
        ArchiveConverter().native(source, ConversionOptions(to="native"), tmp_path)


def test_the_copy_of_the_standard_service_counts_as_the_standard_one(tmp_path: Path) -> None:
    files = {**ONNX_IN_MMS, "mxnet_vision_service.py": VISION_SERVICE, "mxnet_model_service.py": "import mxnet"}
    assert convert(tmp_path, files).processor == ImageProcessor(style="mms", top=5)
