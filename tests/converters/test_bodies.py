"""Processors and labels on their way into a version: what the config says, what the source says, what does not fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from converters import publish as publish_module
from converters.base import CONVERTERS, Conversion, ConversionOptions, Converter, load_converter
from converters.bodies import BodyOptions
from converters.labels import read_labels
from converters.pipeline import ConversionRequest, Converted, convert_source
from converters.processors import check_processor, plan_image
from converters.publish import Published, conversion_key
from model_store.errors import ConfigError, ConversionError
from model_store.manifest import (
    PAYLOAD,
    PAYLOAD_SIGNATURE,
    HandlerSpec,
    ImageProcessor,
    JsonProcessor,
    Signature,
    TensorSpec,
)
from model_store.store import Store

PICTURE = TensorSpec("data", "FP32", (-1, 3, 8, 6))
SCORES = TensorSpec("prob", "FP32", (-1, 3))


def signature(*inputs: TensorSpec, outputs: tuple[TensorSpec, ...] = (SCORES,)) -> Signature:
    return Signature(inputs or (PICTURE,), outputs)


# -- what fits -------------------------------------------------------------------------------------------------------


def test_sizes_are_the_signatures_unless_it_leaves_them_free() -> None:
    plan = plan_image(ImageProcessor(), signature())
    assert (plan.input, plan.output, plan.channels, plan.height, plan.width) == (PICTURE, SCORES, 3, 8, 6)
    free = TensorSpec("x", "UINT8", (-1, -1, -1, 1))
    grey = plan_image(ImageProcessor(height=5, width=4, layout="NHWC", colour="GRAY"), signature(free))
    assert (grey.channels, grey.height, grey.width) == (1, 5, 4)


def test_the_scores_may_be_any_output() -> None:
    two = signature(outputs=(TensorSpec("embedding", "FP32", (-1, 64)), SCORES))
    assert plan_image(ImageProcessor(output="prob"), two).output == SCORES


@pytest.mark.parametrize(
    ("processor", "inputs", "message"),
    [
        ({"input": "x"}, (PICTURE,), "processor.input: the model has no input 'x'; inputs: 'data'"),
        ({"output": "x"}, (PICTURE,), "processor.output: the model has no output 'x'; outputs: 'prob'"),
        (
            {},
            (PICTURE, SCORES),
            "processor: a picture is one input, the model takes 'data', 'prob'; leave the processor out",
        ),
        (
            {},
            (SCORES,),
            "processor: a picture needs numbers of the shape [-1, ..] with four dimensions, the input 'prob' is "
            "FP32[-1, 3]",
        ),
        (
            {},
            (TensorSpec("x", "BYTES", (-1, 3, 8, 6)),),
            "processor: a picture needs numbers of the shape [-1, ..] with four dimensions, the input 'x' is "
            "BYTES[-1, 3, 8, 6]",
        ),
        (
            {"layout": "NHWC"},
            (PICTURE,),
            "processor: colour RGB and layout NHWC give 3 channels on axis 3, the input 'data' has the shape "
            "[-1, 3, 8, 6]; say another colour or layout",
        ),
        (
            {"colour": "GRAY"},
            (PICTURE,),
            "processor: colour GRAY and layout NCHW give 1 channels on axis 1, the input 'data' has the shape "
            "[-1, 3, 8, 6]; say another colour or layout",
        ),
        (
            {"height": 8},
            (TensorSpec("x", "FP32", (-1, 3, -1, -1)),),
            "processor.width: the input 'x' leaves it free; say how many pixels",
        ),
        (
            {"width": 9},
            (PICTURE,),
            "processor.width: 9 pixels do not fit the input 'data' of shape [-1, 3, 8, 6]: 6",
        ),
        ({"mean": (1.0, 2.0)}, (PICTURE,), "processor.mean: expected one number, or one a channel (3), got 2"),
        ({"std": (1.0, 0.0, 1.0)}, (PICTURE,), "processor.std: expected numbers other than 0, which divide"),
        (
            {"resize_shorter": 7},
            (PICTURE,),
            "processor.resize_shorter: expected at least 8, what is cut out of it, got 7",
        ),
    ],
)
def test_a_processor_that_does_not_fit_is_refused(
    processor: dict[str, Any], inputs: tuple[TensorSpec, ...], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        check_processor(ImageProcessor(**processor), signature(*inputs), None)
    assert caught.value.message == message


@pytest.mark.parametrize("shape", [(-1, 4), (-1, 4, 1, 1)])
def test_as_many_labels_as_scores_are_asked(shape: tuple[int, ...]) -> None:
    four = signature(outputs=(TensorSpec("prob", "FP32", shape),))
    check_processor(None, four, ("a", "b", "c", "d"))
    with pytest.raises(
        ConfigError,
        match=r"^labels: 3 names for the output 'prob', which has 4 scores; name each class$",
    ):
        check_processor(None, four, ("a", "b", "c"))


@pytest.mark.parametrize("shape", [(-1,), (-1, -1), (-1, 1), (-1, 21, 8, 8)])
def test_labels_fit_where_the_number_of_scores_can_t_be_told(shape: tuple[int, ...]) -> None:
    check_processor(JsonProcessor(), signature(outputs=(TensorSpec("y", "FP32", shape),)), ("a", "b"))


# -- labels ----------------------------------------------------------------------------------------------------------


def test_labels_are_lines_or_an_index(tmp_path: Path) -> None:
    (tmp_path / "synset.txt").write_text("cat\nbig dog\r\n\ngröße\n\n", encoding="utf-8")
    assert read_labels(tmp_path / "synset.txt") == ("cat", "big dog", "", "größe")
    (tmp_path / "index_to_name.json").write_text('{"1": ["n2", "dog"], "0": "cat"}')
    assert read_labels(tmp_path / "index_to_name.json") == ("cat", "dog")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.txt", None, r"^labels: 'gone.txt' can't be read: No such file or directory$"),
        ("empty.txt", "\n\n", r"^labels: 'empty.txt' is empty; expected the name of a class a line$"),
        ("list.json", "[1]", r"^labels: 'list.json'"),
    ],
)
def test_a_file_without_labels_is_refused(tmp_path: Path, name: str, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError, match=message):
        read_labels(tmp_path / name)


def test_labels_count_by_their_bytes_and_processors_by_their_values(tmp_path: Path) -> None:
    def key(**options: Any) -> str:
        return conversion_key("abc", load_converter("onnx"), ConversionOptions(**options))

    for name, content in (("a", "cat"), ("b", "cat"), ("c", "dog")):
        (tmp_path / name).write_text(content)
    a, b, c = (key(labels=str(tmp_path / name)) for name in "abc")
    assert a == b != c
    keys = {
        key(),
        key(processor=JsonProcessor()),
        key(processor=ImageProcessor()),
        key(processor=ImageProcessor(top=1)),
    }
    assert len(keys) == 4
    with pytest.raises(ConfigError, match=r"^labels: '.*gone' can't be read: No such file"):
        key(labels=str(tmp_path / "gone"))


# -- into the version ------------------------------------------------------------------------------------------------


@pytest.fixture
def pooling(tmp_path: Path, onnx_model: Callable[..., Path]) -> Path:
    """A model of [n, 3, 4, 4] pictures whose scores are the means of the channels."""
    nodes = [helper.make_node("GlobalAveragePool", ["data"], ["p"]), helper.make_node("Flatten", ["p"], ["prob"])]
    return onnx_model(
        tmp_path / "pooling.onnx", nodes, {"data": ["n", 3, 4, 4]}, {"prob": (TensorProto.FLOAT, ["n", 3])}
    )


def test_a_version_knows_its_processor_its_labels_and_the_signature_of_bodies(
    publish: Callable[..., Published], pooling: Path, tmp_path: Path
) -> None:
    (tmp_path / "labels.txt").write_text("red\ngreen\nblue\n")
    manifest = publish(pooling, processor=ImageProcessor(top=2), labels=str(tmp_path / "labels.txt")).manifest
    assert (manifest.processor, manifest.labels) == (ImageProcessor(top=2), ("red", "green", "blue"))
    assert list(manifest.signatures) == ["serving_default", PAYLOAD]
    assert manifest.signatures[PAYLOAD] == PAYLOAD_SIGNATURE
    assert manifest.default_signature == "serving_default"
    assert manifest.row_independent
    plain = publish(pooling).manifest
    assert (plain.processor, plain.labels, list(plain.signatures)) == (None, None, ["serving_default"])


def test_what_does_not_fit_is_told_before_anything_is_proven(
    publish: Callable[..., Published], linear_onnx: Path
) -> None:
    with pytest.raises(ConfigError, match=r"^processor: a picture needs numbers of the shape"):
        publish(linear_onnx, processor=ImageProcessor())


class Archive(Converter):
    """Stands for the converter of archives: what it finds has a handler of its own."""

    framework = "standing_in"
    extra = None
    kinds = "archives"

    def detects(self, source: Path) -> bool:
        return True

    def alternatives(self, source: Path, options: ConversionOptions, workdir: Path) -> Iterator[Conversion]:
        (workdir / "files").mkdir()
        model = workdir / "files" / "service.py"
        model.write_text("def handle(data, context): ...")

        def never(inputs: object) -> dict[str, np.ndarray]:
            raise AssertionError("a handler is compared with nothing")

        yield Conversion(
            model,
            PAYLOAD_SIGNATURE,
            never,
            "the archive's own handler",
            runtime="handler",
            signature_name=PAYLOAD,
            handler=HandlerSpec(server="mms", entry="service:handle"),
            unproven="a handler is the source's own code",
            labels=("cat",),
            framework="mxnet",
        )


@pytest.fixture
def of_archive(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Converted]:
    """Converts with `Archive`, in this process."""

    def convert(**options: Any) -> Converted:
        (tmp_path / "work").mkdir()
        request = ConversionRequest(
            framework="standing_in",
            source=str(tmp_path),
            workdir=str(tmp_path / "work"),
            options=ConversionOptions(trust=True, **options),
        )
        return convert_source(request, lambda _: None)

    monkeypatch.setitem(CONVERTERS, "standing_in", f"{__name__}:Archive")
    return convert


def test_a_handler_is_neither_proven_nor_measured(of_archive: Callable[..., Converted]) -> None:
    converted = of_archive()
    assert (converted.runtime, converted.reason) == ("handler", "a handler is the source's own code")
    assert (converted.parity, converted.profile, converted.optimised, converted.opset) == (None, None, {}, None)
    assert (converted.signatures, converted.default_signature) == ({PAYLOAD: PAYLOAD_SIGNATURE}, PAYLOAD)
    assert converted.handler == HandlerSpec(server="mms", entry="service:handle")
    assert (converted.framework, converted.labels, converted.processor) == ("mxnet", ("cat",), None)
    assert list(converted.files) == ["service.py"]


def test_a_handler_is_published_with_what_the_server_needs_to_start_it(
    monkeypatch: pytest.MonkeyPatch, store: Store, tmp_path: Path
) -> None:
    def in_this_process(request: ConversionRequest, on_progress: Callable[[str], None], limits: object) -> Converted:
        return convert_source(request, on_progress)

    monkeypatch.setitem(CONVERTERS, "standing_in", f"{__name__}:Archive")
    monkeypatch.setattr(publish_module, "run_in_sandbox", in_this_process)
    (tmp_path / "net.mar").write_bytes(b"...")
    options = ConversionOptions(framework="standing_in", trust=True)
    manifest = publish_module.convert_and_publish(store, "net", tmp_path / "net.mar", options).manifest
    assert (manifest.framework, manifest.runtime, manifest.trusted) == ("mxnet", "handler", True)
    assert (manifest.parity, manifest.profile, manifest.row_independent) == (None, None, True)
    assert manifest.handler == HandlerSpec(server="mms", entry="service:handle")


def test_the_name_of_the_signature_of_bodies_is_reserved(linear_onnx: Path) -> None:
    own = Conversion(linear_onnx, signature(), lambda inputs: {}, "onnx", signature_name=PAYLOAD)
    with pytest.raises(ConversionError, match=r"^the source has a signature 'payload'; the name is taken"):
        BodyOptions(ConversionOptions()).signatures(own)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"processor": JsonProcessor()}, "processor: raw bodies go to the source's own code"),
        ({"labels": "classes.txt"}, "labels: the source's own code names the classes"),
        ({"precision": "float16"}, r"convert\.precision: 'float16' is for ONNX models only"),
    ],
)
def test_a_handler_takes_no_processor_no_labels_and_no_precision(
    of_archive: Callable[..., Converted],
    options: dict[str, Any],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("classes.txt").write_text("cat\n")
    with pytest.raises(ConfigError, match=message):
        of_archive(**options)
