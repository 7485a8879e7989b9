"""Wrong conversions, planted on purpose: the pipeline must refuse each, whatever else is right about it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper

from converters import base, pipeline
from converters.base import Arrays, Conversion, ConversionOptions, Converter
from converters.graph import open_session, read_signature
from converters.pipeline import ConversionRequest, Converted, convert_source
from model_store.errors import ConversionError, Unsupported

WEIGHT = np.array([[1, 2, -1], [3, -4, 2], [-5, 6, 1]], dtype=np.float32)


def scores(arrays: Arrays) -> dict[str, np.ndarray]:
    return {"scores": arrays["x"] @ WEIGHT, "twice": arrays["x"] * 2}


class PlantedConverter(Converter):
    """Converts the network above with `tail` between its scores and the output."""

    framework = "planted"
    extra = None
    kinds = "a network of the tests"

    def __init__(self, write: Callable[[Path, list[NodeProto]], Path], tail: list[NodeProto]) -> None:
        self._write = write
        self._tail = tail

    def detects(self, source: Path) -> bool:
        return True

    def alternatives(self, source: Path, options: ConversionOptions, workdir: Path) -> Iterator[Conversion]:
        (workdir / "onnx").mkdir()
        model = self._write(workdir / "onnx" / "model.onnx", self._tail)
        yield Conversion(model, read_signature(open_session(model)), scores, "numpy")


@pytest.fixture
def convert_with(
    tmp_path: Path, onnx_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Converted]:
    def write(path: Path, tail: list[NodeProto]) -> Path:
        nodes = [
            helper.make_node("MatMul", ["x", "w"], ["inner"]),
            *tail,
            helper.make_node("Mul", ["x", "two"], ["twice"]),
        ]
        return onnx_model(
            path,
            nodes,
            {"x": ["n", 3]},
            {"scores": (TensorProto.FLOAT, ["n", 3]), "twice": (TensorProto.FLOAT, ["n", 3])},
            {
                "w": WEIGHT,
                "two": np.array(2, np.float32),
                "factor": np.array(1.001, np.float32),
                "order": np.array([0, 2, 1]),
                "first": np.array(0),
            },
        )

    def convert(*tail: NodeProto, **options: object) -> Converted:
        converter = PlantedConverter(write, list(tail))
        monkeypatch.setattr(pipeline, "load_converter", lambda name: converter)
        source = tmp_path / "source"
        source.touch()
        work = tmp_path / "work"
        work.mkdir()
        request = ConversionRequest(
            framework="planted",
            source=str(source),
            workdir=str(work),
            options=ConversionOptions(**options),  # type: ignore[arg-type]
        )
        return convert_source(request, lambda _: None)

    return convert


def test_the_right_conversion_passes(convert_with: Callable[..., Converted]) -> None:
    converted = convert_with(helper.make_node("Identity", ["inner"], ["scores"]))
    assert (converted.runtime, converted.parity.passed, converted.parity.row_independent) == ("onnx", True, True)
    assert [edge.outcome for edge in converted.parity.edges] == ["equal", "equal", "equal"]


PLANTED = {
    "an output is scaled by 1.001": (helper.make_node("Mul", ["inner", "factor"], ["scores"]), "error 0.001 of its"),
    "two classes are swapped": (helper.make_node("Gather", ["inner", "order"], ["scores"], axis=1), "output 'scores'"),
    "a row leaks into its neighbour": (helper.make_node("CumSum", ["inner", "first"], ["scores"]), "at batch 64"),
}


@pytest.mark.parametrize("on_failure", ["native", "reject"])
@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_mistake_is_caught(convert_with: Callable[..., Converted], name: str, on_failure: str) -> None:
    tail, told = PLANTED[name]
    with pytest.raises(ConversionError, match="does not compute what numpy computes: output 'scores' differs") as error:
        convert_with(tail, on_failure=on_failure)
    assert told in error.value.message
    assert error.value.details["parity"]["passed"] is False


def test_a_leak_shows_in_the_first_batch_of_several_rows(convert_with: Callable[..., Converted]) -> None:
    with pytest.raises(ConversionError) as error:
        convert_with(PLANTED["a row leaks into its neighbour"][0], largest_batch=2)
    assert "at batch 3" in error.value.message


@pytest.mark.parametrize("bound", [1e-4, 5e-4])
def test_a_bound_of_the_config_does_not_let_a_thousandth_through(
    convert_with: Callable[..., Converted], bound: float
) -> None:
    with pytest.raises(ConversionError, match=r"error 0\.001 of its scale"):
        convert_with(PLANTED["an output is scaled by 1.001"][0], rtol=bound)


def test_a_source_that_answers_differently_each_time_is_not_proven(
    convert_with: Callable[..., Converted], monkeypatch: pytest.MonkeyPatch
) -> None:
    generator, steady = np.random.default_rng(0), scores

    def noisy(arrays: Arrays) -> dict[str, np.ndarray]:
        return steady(arrays) | {"twice": generator.normal(size=arrays["x"].shape)}

    monkeypatch.setattr(f"{__name__}.scores", noisy)
    with pytest.raises(
        ConversionError, match=r"numpy answers the same inputs differently each time, .* output 'twice'"
    ):
        convert_with(helper.make_node("Identity", ["inner"], ["scores"]))


def test_a_converter_without_a_runtime_of_its_own_says_so(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="onnx models are served by ONNX Runtime only"):
        base.load_converter("onnx").native(tmp_path, ConversionOptions(), tmp_path)


class TwoWays(PlantedConverter):
    """Offers a wrong conversion first, then the right one."""

    def alternatives(self, source: Path, options: ConversionOptions, workdir: Path) -> Iterator[Conversion]:
        for name, node in (
            ("wrong", helper.make_node("Mul", ["inner", "factor"], ["scores"])),
            ("right", helper.make_node("Identity", ["inner"], ["scores"])),
        ):
            self._tail = [node]
            (workdir / name).mkdir()
            yield from super().alternatives(source, options, workdir / name)


def test_the_next_way_is_tried_when_the_first_is_wrong(
    convert_with: Callable[..., Converted], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{__name__}.PlantedConverter", TwoWays)
    converted = convert_with()
    assert converted.parity.passed
    assert converted.files["model.onnx"].endswith("right/onnx/model.onnx")
