"""Files that people have, as the inputs of a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from model_store.errors import InvalidInput
from model_store.manifest import PAYLOAD, PAYLOAD_SIGNATURE, Signature, TensorSpec
from serve.client import Model
from serve.commands.input_files import content_type_of, goes_as_it_is, read_inputs


def described(datatype: str = "FP32", shape: tuple[int, ...] = (-1, 2), name: str = "x") -> TensorSpec:
    return TensorSpec(name, datatype, shape)


def read_json(folder: Path, content: Any, *specs: TensorSpec) -> dict[str, np.ndarray]:
    file = folder / "input.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_inputs(file, list(specs or [described()]), 1.0)


def read_npz(folder: Path, *specs: TensorSpec, **arrays: Any) -> dict[str, np.ndarray]:
    np.savez(folder / "input.npz", **arrays)
    return read_inputs(folder / "input.npz", list(specs or [described()]), 1.0)


@pytest.mark.parametrize(
    "content",
    [
        [[1, 2], [3, 4]],
        {"x": [[1, 2], [3, 4]]},
        {"inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3, 4]}]},
        {"inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [[1, 2], [3, 4]]}]},
    ],
)
def test_json_is_values_an_object_of_inputs_or_a_v2_request(tmp_path: Path, content: Any) -> None:
    tensor = read_json(tmp_path, content)["x"]
    assert (tensor.dtype, tensor.tolist()) == (np.float32, [[1, 2], [3, 4]])


def test_a_model_s_input_may_be_called_inputs(tmp_path: Path) -> None:
    assert read_json(tmp_path, {"inputs": [[1, 2]]}, described(name="inputs"))["inputs"].tolist() == [[1, 2]]


def test_arrays_by_name_and_a_single_array(tmp_path: Path) -> None:
    both = read_npz(tmp_path, described(), described("INT64", (-1,), "n"), x=np.ones((1, 2)), n=np.array([7]))
    assert (both["x"].dtype, both["n"].dtype) == (np.float32, np.int64)
    np.save(tmp_path / "input.npy", np.ones((3, 2), np.float32))
    assert read_inputs(tmp_path / "input.npy", [described()], 1.0)["x"].shape == (3, 2)


def test_lines_of_text_are_rows(tmp_path: Path) -> None:
    (tmp_path / "input.csv").write_text("a,b\n1,2\n3,4\n")
    assert read_inputs(tmp_path / "input.csv", [described()], 1.0)["x"].tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("values", "datatype", "expected"),
    [
        (np.array([1.0, 2.0]), "INT64", [1, 2]),
        (np.array([0.1]), "FP32", [0.10000000149011612]),
        (np.array([1, 0]), "BOOL", [True, False]),
        (np.array([True, False]), "FP32", [1.0, 0.0]),
        (np.array([255]), "UINT8", [255]),
        (np.array([2**63], np.uint64), "UINT64", [2**63]),
        (np.array([np.nan, np.inf]), "FP32", [np.nan, np.inf]),
    ],
)
def test_numbers_take_the_model_s_datatype(tmp_path: Path, values: Any, datatype: str, expected: list[Any]) -> None:
    tensor = read_npz(tmp_path, described(datatype, (-1,)), x=values)["x"]
    assert np.array_equal(tensor, expected, equal_nan=tensor.dtype.kind == "f")


@pytest.mark.parametrize(
    ("values", "datatype"),
    [
        (np.array([1.5]), "INT64"),
        (np.array([np.nan]), "INT64"),
        (np.array([np.inf]), "INT32"),
        (np.array([1e19]), "INT64"),
        (np.array([300]), "UINT8"),
        (np.array([-1]), "UINT8"),
        (np.array([-1]), "UINT64"),
        (np.array([2**63], np.uint64), "INT64"),
        (np.array([2]), "BOOL"),
        (np.array([1e300]), "FP32"),
        (np.array([70000]), "FP16"),
    ],
)
def test_values_that_the_datatype_can_not_hold_are_refused(tmp_path: Path, values: Any, datatype: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_npz(tmp_path, described(datatype, (-1,)), x=values)
    assert str(refused.value) == f"input 'x': expected {datatype}, got {values.dtype} values that do not fit"


@pytest.mark.parametrize(
    "values", [np.array([["a", "grün"]]), np.array([[b"a", "grün".encode()]]), np.array(["a", "grün"])]
)
def test_text_becomes_bytes(tmp_path: Path, values: Any) -> None:
    tensor = read_npz(tmp_path, described("BYTES", values.shape), x=values)["x"]
    assert (tensor.dtype, tensor.shape) == (np.object_, values.shape)
    assert tensor.ravel().tolist() == [b"a", "grün".encode()]


@pytest.mark.parametrize(
    ("content", "datatype", "text"),
    [
        ([1, 2], "BYTES", "input 'x': expected BYTES, got int64"),
        ([None], "BYTES", "input 'x': expected BYTES, got NoneType values"),
        (["a"], "FP32", "input 'x': expected FP32, got <U1"),
        ([None], "FP32", "input 'x': expected FP32, got object"),
    ],
)
def test_another_kind_of_value_is_refused(tmp_path: Path, content: Any, datatype: str, text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_json(tmp_path, content, described(datatype, (-1,)))
    assert str(refused.value) == text


@pytest.mark.parametrize("characters", [1, 2])
@pytest.mark.parametrize("code", [0xD800, 0x110000, 0xFFFFFFFF], ids=hex)
def test_text_of_what_is_no_character_is_refused(tmp_path: Path, code: int, characters: int) -> None:
    text = np.array([0x61, code], np.uint32).view(f"U{characters}")
    with pytest.raises(InvalidInput, match=r"^input 'x': expected BYTES, got text that is not Unicode$"):
        read_npz(tmp_path, described("BYTES", (-1,)), x=text)


def test_an_unknown_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"input\.npz: the model has no input 'z'; inputs: x$"):
        read_npz(tmp_path, z=np.ones(2))


def test_values_without_a_name_are_refused_by_a_model_with_several_inputs(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"^the model has several inputs \(x, n\); use a \.npz, or JSON that names"):
        read_json(tmp_path, [1, 2], described(), described(name="n"))


@pytest.mark.parametrize("content", ["{", "[[1, 2], [3]]", "3"])
def test_json_that_is_no_input_is_refused_with_the_file_s_name(tmp_path: Path, content: str) -> None:
    with pytest.raises(InvalidInput, match=r"^.*input\.json: "):
        read_json(tmp_path, content)


@pytest.mark.parametrize(
    "inputs", [[described(shape=(-1, 3, 4, 4))], [described(shape=(-1, 2))], [described(), described(name="n")]]
)
def test_a_file_that_is_no_image_is_refused_whatever_the_model_takes(tmp_path: Path, inputs: list[TensorSpec]) -> None:
    (tmp_path / "input.txt").write_text("hello")
    with pytest.raises(InvalidInput, match=r"input\.txt: expected a \.npz, \.npy, \.csv, \.json or image file$"):
        read_inputs(tmp_path / "input.txt", inputs, 1.0)


def test_pickled_arrays_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "input.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(InvalidInput, match=r"an \.npy must hold numbers, booleans or text, got '\|O'$"):
        read_inputs(tmp_path / "input.npy", [described()], 1.0)


@pytest.mark.parametrize(
    ("shape", "channel_axis", "channels"),
    [
        ((-1, 3, 4, 2), 0, [255, 0, 0]),
        ((-1, 4, 2, 3), 2, [255, 0, 0]),
        ((-1, 1, 4, 2), 0, [76]),
        ((-1, 1, 2, 1), 0, [76]),
    ],
)
def test_an_image_takes_the_model_s_layout_and_size(
    tmp_path: Path, shape: tuple[int, ...], channel_axis: int, channels: list[int]
) -> None:
    Image.new("RGB", (8, 8), (255, 0, 0)).save(tmp_path / "red.png")
    tensor = read_inputs(tmp_path / "red.png", [described(shape=shape)], 0.5)["x"]
    assert (tensor.dtype, tensor.shape) == (np.float32, (1, *shape[1:]))
    pixels = np.moveaxis(tensor[0], channel_axis, -1).reshape(-1, len(channels))
    assert (pixels == np.array(channels) / 2).all()


@pytest.mark.parametrize("shape", [(-1, 2), (-1, 3, -1, 4), (-1, -1, 4, 3), (-1, 2, 4, 4), (-1, 4, 4, 2), (3, 4, 4)])
def test_an_image_for_a_model_without_image_input_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "grey.png")
    with pytest.raises(InvalidInput) as caught:
        read_inputs(tmp_path / "grey.png", [described(shape=shape)], 1.0)
    assert caught.value.message == (
        f"input 'x' has the shape {list(shape)}; an image needs [-1,C,H,W] or [-1,H,W,C] with 1 or 3 channels"
    )


TENSORS = Model("m", (described(),), ())
WITH_PROCESSOR = Model(
    "m",
    (described(),),
    (),
    signatures={"serving_default": Signature((described(),), ()), PAYLOAD: PAYLOAD_SIGNATURE},
)
HANDLER = Model("m", PAYLOAD_SIGNATURE.inputs, PAYLOAD_SIGNATURE.outputs)


@pytest.mark.parametrize(
    ("model", "name", "expected"),
    [
        (TENSORS, "cat.jpg", False),
        (WITH_PROCESSOR, "cat.jpg", True),
        (WITH_PROCESSOR, "cat.NPZ", False),
        (WITH_PROCESSOR, "cat.json", False),
        (HANDLER, "cat.jpg", True),
        (HANDLER, "cat.json", True),
    ],
)
def test_a_picture_goes_as_it_is_to_a_processor_and_anything_to_a_handler(
    model: Model, name: str, expected: bool
) -> None:
    assert goes_as_it_is(Path(name), model) is expected


def test_the_content_type_is_that_of_the_name() -> None:
    names = ("a.jpg", "a.PNG", "a.json", "a")
    assert [content_type_of(Path(name)) for name in names] == [
        "image/jpeg",
        "image/png",
        "application/json",
        "application/octet-stream",
    ]
