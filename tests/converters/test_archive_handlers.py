"""Archives whose handler is no standard service: refused, or specified for the runtime `handler` with trust."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from converters.archive.converter import ArchiveConverter
from converters.base import ConversionOptions
from model_store.errors import InternalError, TrustRequired, Unsupported
from model_store.manifest import PAYLOAD, PAYLOAD_SIGNATURE, HandlerSpec, ImageProcessor, JsonProcessor
from tests.converters.archives import convert, refusal
from tests.sources.archives_writing import IMAGE_SIGNATURE, Files, means_onnx, mms, torchserve, write_tgz, write_zip

HANDLER = "def handle(data, context):\n    return ['ok' for _ in data or []]\n"


@pytest.mark.parametrize("handler", ["object_detector", "image_segmenter", "text_classifier"])
def test_a_handler_that_only_torchserve_has_is_refused_with_the_way_out(tmp_path: Path, handler: str) -> None:
    files = {**torchserve(handler, serializedFile="net.onnx"), "net.onnx": means_onnx()}
    message = refusal(tmp_path, files)
    assert f"TorchServe's own handler '{handler}', which only TorchServe has" in message
    assert "say `processor:` for this model" in message


def test_a_handler_that_is_not_in_the_archive_is_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path, {**mms("service:handle"), "net.onnx": means_onnx()})
    assert "names the handler 'service:handle', and service.py is not in the archive" in message


@pytest.mark.parametrize("handler", ["../../evil:handle", "/etc/evil.py", "a\\b"])
def test_a_handler_outside_of_the_archive_is_refused(tmp_path: Path, handler: str) -> None:
    assert "leads out of the archive" in refusal(tmp_path, {**mms(handler), "net.onnx": means_onnx()})


def test_a_model_without_a_handler_takes_tensors(tmp_path: Path) -> None:
    conversion = convert(tmp_path, {**mms(handler=""), "net.onnx": means_onnx()})
    assert (conversion.processor, conversion.handler) == (None, None)


@pytest.mark.parametrize(
    ("handler", "input_type", "processor"),
    [
        ("mxnet_vision_service:handle", "image/jpeg", ImageProcessor(style="mms")),
        ("mxnet_vision_service.py:handle", None, ImageProcessor(style="mms")),
        ("mxnet_vision_service", "application/json", JsonProcessor()),
        ("mxnet_model_service:handle", "image/jpeg", JsonProcessor()),
    ],
)
def test_the_services_of_mms_are_built_in(
    tmp_path: Path, handler: str, input_type: str | None, processor: ImageProcessor | JsonProcessor
) -> None:
    signature = {**IMAGE_SIGNATURE, "input_type": input_type}
    files = {**mms(handler), "net.onnx": means_onnx(), "signature.json": signature}
    assert convert(tmp_path, files).processor == processor


def test_what_the_user_says_goes_before_the_archive(tmp_path: Path) -> None:
    files = {**mms("service:handle"), "net.onnx": means_onnx(), "service.py": HANDLER}
    assert convert(tmp_path, files, processor=JsonProcessor()).processor == JsonProcessor()


def test_a_custom_handler_needs_trust(tmp_path: Path) -> None:
    source = write_zip(tmp_path / "net.mar", {**mms("service:handle"), "service.py": HANDLER, "net.onnx": means_onnx()})
    with pytest.raises(TrustRequired, match=r"handler of its own \(service:handle\).*`trust: true`.*archive unpack"):
        ArchiveConverter().convert(source, ConversionOptions(), tmp_path)


@pytest.mark.parametrize("prefix", ["", "net/"])
def test_a_trusted_handler_becomes_a_version_of_the_handler_runtime(tmp_path: Path, prefix: str) -> None:
    named = {"serializedFile": "net.pt", "requirementsFile": "requirements.txt", "configFile": "model-config.yaml"}
    files: Files = {
        **torchserve("code/service.py", **named),
        "code/service.py": HANDLER,
        "net.pt": "w",
        "requirements.txt": "numpy",
        "model-config.yaml": "batchSize: 8\nmaxBatchDelay: 50\nresponseTimeout: 30\n",
        "index_to_name.json": {"0": "cat"},
    }
    source = write_tgz(tmp_path / "net.mar", files, prefix)
    conversion = ArchiveConverter().convert(source, ConversionOptions(trust=True), tmp_path)
    assert (conversion.runtime, conversion.signature_name) == ("handler", PAYLOAD)
    assert conversion.signature == PAYLOAD_SIGNATURE
    assert conversion.handler == HandlerSpec(
        server="torchserve",
        entry="code/service.py",
        requirements="requirements.txt",
        batch_size=8,
        max_batch_delay_ms=50,
        response_timeout_s=30,
        properties={
            "model_name": "net",
            "model_version": "1.0",
            "layout": "1.0",
            "serialized_file": "net.pt",
            "requirements_file": "requirements.txt",
            "config_file": "model-config.yaml",
        },
    )
    assert (conversion.unproven, conversion.labels) == ("a handler is the source's own code", ("cat",))
    version = conversion.model.parent
    assert {path.relative_to(version).as_posix() for path in version.rglob("*") if path.is_file()} == set(files)
    with pytest.raises(InternalError, match="no reference"):
        conversion.reference({})


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("batchSize: many", "expected a number of at least 0 at batchSize, got 'many'"),
        ("startupTimeout: soon", "expected a number of at least 0 at startupTimeout, got 'soon'"),
        ("batchSize: 0", "expected a whole number of at least 1 at batchSize"),
        ("maxBatchDelay: -1", "expected a number of at least 0 at maxBatchDelay"),
        ("responseTimeout: .inf", "expected a number of at least 0 at responseTimeout"),
    ],
)
def test_settings_of_a_handler_that_can_not_be_are_refused(tmp_path: Path, config: str, words: str) -> None:
    files = {**torchserve("s.py", configFile="c.yaml"), "c.yaml": config, "s.py": HANDLER}
    assert words in refusal(tmp_path, files, trust=True)


def test_a_handler_for_python_2_is_not_supported(tmp_path: Path) -> None:
    manifest = json.dumps({"runtime": "python2", "model": {"modelName": "net", "handler": "s:handle"}})
    with pytest.raises(Unsupported, match="has a handler for 'python2'; expected python or python3"):
        convert(tmp_path, {"MAR-INF/MANIFEST.json": manifest, "s.py": HANDLER}, trust=True)
