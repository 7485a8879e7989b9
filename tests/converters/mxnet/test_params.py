"""Files of parameters: every layout, every dtype, and what is refused before memory is taken."""

import struct
from pathlib import Path

import numpy as np
import pytest

from converters.mxnet.params import open_params
from model_store.errors import SourceError
from tests.converters.mxnet.recorded import unpack

FLAGS = {"float32": 0, "float64": 1, "float16": 2, "uint8": 3, "int32": 4, "int8": 5, "int64": 6, "bool": 7,
         "int16": 8, "uint16": 9, "uint32": 10, "uint64": 11}  # fmt: skip
V1, V2, V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA


def shape_of(*dims: int) -> bytes:
    return struct.pack(f"<i{len(dims)}q", len(dims), *dims)


def context(flag: int) -> bytes:
    return struct.pack("<iii", 1, 0, flag)


def dense(array: np.ndarray, version: int = V2) -> bytes:
    flag = context(FLAGS[array.dtype.name])
    if version in (V2, V3):
        return struct.pack("<Ii", version, 0) + shape_of(*array.shape) + flag + array.tobytes()
    if version == V1:
        return struct.pack("<I", V1) + shape_of(*array.shape) + flag + array.tobytes()
    return struct.pack(f"<I{array.ndim}I", array.ndim, *array.shape) + flag + array.tobytes()


def file_of(records: list[bytes], names: list[bytes], magic: int = 0x112) -> bytes:
    head = struct.pack("<QQQ", magic, 0, len(records))
    return (
        head
        + b"".join(records)
        + struct.pack("<Q", len(names))
        + b"".join(struct.pack("<Q", len(name)) + name for name in names)
    )


def read(folder: Path, data: bytes) -> dict[str, np.ndarray]:
    path = folder / "net-0000.params"
    path.write_bytes(data)
    return dict(open_params(path))


def read_all(path: Path) -> None:
    dict(open_params(path))


def refused(folder: Path, data: bytes) -> str:
    with pytest.raises(SourceError) as error:
        read(folder, data)
    return error.value.message


@pytest.mark.parametrize("dtype", FLAGS)
@pytest.mark.parametrize("version", [0, V1, V2, V3])
def test_array_of_every_dtype_in_every_layout(dtype: str, version: int, tmp_path: Path) -> None:
    array = np.arange(6).reshape(2, 3).astype(dtype)
    (got,) = read(tmp_path, file_of([dense(array, version)], [b"arg:w"])).values()
    assert got.dtype == array.dtype
    assert got.tolist() == array.tolist()


def test_bfloat16_is_read_as_the_float32_of_the_same_value(tmp_path: Path) -> None:
    record = struct.pack("<Ii", V2, 0) + shape_of(3) + context(12) + struct.pack("<3H", 0x3F80, 0xC000, 0x7F80)
    (got,) = read(tmp_path, file_of([record], [b"w"])).values()
    assert got.dtype == np.float32
    assert got.tolist() == [1.0, -2.0, float("inf")]


def test_scalar_exists_under_numpy_shapes_and_is_an_empty_slot_before(tmp_path: Path) -> None:
    scalar = np.float32(2.5).reshape(())
    assert read(tmp_path, file_of([dense(scalar, V3)], [b"s"]))["s"].shape == ()
    empty = struct.pack("<Iii", V2, 0, 0)
    assert read(tmp_path, file_of([empty, dense(np.ones(2, np.float32))], [b"none", b"w"])).keys() == {"w"}


def test_row_sparse_array_comes_out_dense(tmp_path: Path) -> None:
    rows = struct.pack("<i", 6) + shape_of(2)
    record = struct.pack("<Ii", V2, 1) + shape_of(0, 2) + shape_of(4, 2) + context(0) + rows
    record += np.array([[1, 2], [3, 4]], np.float32).tobytes() + np.array([3, 0], np.int64).tobytes()
    assert read(tmp_path, file_of([record], [b"w"]))["w"].tolist() == [[3, 4], [0, 0], [0, 0], [1, 2]]


def test_csr_array_comes_out_dense(tmp_path: Path) -> None:
    heads = struct.pack("<i", 6) + shape_of(3) + struct.pack("<i", 6) + shape_of(2)
    record = struct.pack("<Ii", V2, 2) + shape_of(0) + shape_of(2, 3) + context(0) + heads
    record += np.array([7, 8], np.float32).tobytes()
    record += np.array([0, 1, 2], np.int64).tobytes() + np.array([2, 0], np.int64).tobytes()
    assert read(tmp_path, file_of([record], [b"w"]))["w"].tolist() == [[0, 0, 7], [8, 0, 0]]


def test_sparse_row_outside_of_the_shape_is_refused(tmp_path: Path) -> None:
    rows = struct.pack("<i", 6) + shape_of(1)
    record = struct.pack("<Ii", V2, 1) + shape_of(1, 2) + shape_of(4, 2) + context(0) + rows
    record += np.ones(2, np.float32).tobytes() + np.array([4], np.int64).tobytes()
    assert "outside of its shape [4, 2]" in refused(tmp_path, file_of([record], [b"w"]))


def test_sparse_array_that_is_huge_when_dense_is_refused(tmp_path: Path) -> None:
    rows = struct.pack("<i", 6) + shape_of(1)
    record = struct.pack("<Ii", V2, 1) + shape_of(1, 2) + shape_of(1 << 40, 2) + context(0) + rows
    record += np.ones(2, np.float32).tobytes() + np.array([4], np.int64).tobytes()
    assert "bytes when it is dense" in refused(tmp_path, file_of([record], [b"w"]))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (file_of([], [], magic=0x113), "starts with 0x113"),
        (struct.pack("<QQQ", 0x112, 0, 1 << 60), "claims 1152921504606846976 arrays in 24 bytes"),
        (file_of([dense(np.ones(2, np.float32))], []), "without names"),
        (file_of([dense(np.ones(2, np.float32))], [b"a", b"b"]), "has 1 arrays and 2 names"),
        (file_of([dense(np.ones(2, np.float32))] * 2, [b"a", b"a"]), "two arrays called 'a'"),
        (file_of([dense(np.ones(2, np.float32))], [b"\xff"]), "a name is no UTF-8"),
        (file_of([struct.pack("<Ii", V2, 0) + shape_of(-3) + context(0)], [b"a"]), r"has the shape [-3]"),
        (file_of([struct.pack("<Ii", V2, 0) + shape_of(1 << 60) + context(0)], [b"a"]), "are left"),
        (file_of([struct.pack("<Ii", V2, 0) + shape_of(1) + context(99) + b"\0" * 4], [b"a"]), "type flag 99"),
        (file_of([struct.pack("<Ii", V2, 9) + shape_of(1) + context(0) + b"\0" * 4], [b"a"]), "storage type 9"),
        (file_of([struct.pack("<I", 0xDEADBEEF)], [b"a"]), "0xdeadbeef, which is no version and no rank"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n", "Git-LFS pointer"),
    ],
)  # fmt: skip
def test_damaged_file_is_refused_with_what_is_wrong(data: bytes, message: str, tmp_path: Path) -> None:
    assert message in refused(tmp_path, data)


def test_every_prefix_of_a_file_is_refused(tmp_path: Path) -> None:
    whole = file_of([dense(np.ones((2, 2), np.float32)), dense(np.ones(1, np.int8), V1)], [b"arg:a", b"aux:b"])
    for length in range(len(whole)):
        assert refused(tmp_path, whole[:length])
    assert read(tmp_path, whole).keys() == {"arg:a", "aux:b"}


def test_bytes_after_the_list_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    read(tmp_path, file_of([dense(np.ones(2, np.float32))], [b"a"]) + b"more")
    assert "4 bytes follow the parameters" in caplog.text


def test_zip_of_release_2_is_read_without_pickles(tmp_path: Path) -> None:
    path = tmp_path / "net-0000.params"
    with path.open("wb") as file:
        np.savez(file, **{"arg:w": np.arange(3, dtype=np.int8)})
    assert open_params(path)["arg:w"].tolist() == [0, 1, 2]
    with path.open("wb") as file:
        np.savez(file, **{"arg:w": np.array([object()], dtype=object)})
    with pytest.raises(SourceError, match="holds object, which is no type of MXNet"):
        open_params(path)


def test_zip_member_that_claims_more_than_it_may_hold_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net-0000.params"
    with path.open("wb") as file:
        np.savez_compressed(file, **{"arg:w": np.zeros(1 << 23, np.float32)})
    with pytest.raises(SourceError, match="claims 33554560 bytes in"):
        open_params(path)


@pytest.mark.parametrize("at", [40, 151, 2000], ids=["start of the deflated bytes", "header of .npy", "numbers"])
def test_zip_member_whose_bytes_are_damaged_is_refused(at: int, tmp_path: Path) -> None:
    path = tmp_path / "net-0000.params"
    with path.open("wb") as file:
        np.savez_compressed(file, **{"arg:w": np.random.default_rng(0).standard_normal(4000)})
    data = bytearray(path.read_bytes())
    data[at : at + 40] = b"\xff" * 40
    path.write_bytes(data)
    with pytest.raises(SourceError, match=r"is no file of MXNet parameters"):
        read_all(path)


def test_opening_reads_headers_only(tmp_path: Path) -> None:
    path = tmp_path / "net-0000.params"
    path.write_bytes(file_of([dense(np.ones((64, 32), np.float16))], [b"arg:w"]))
    parameters = open_params(path)
    path.write_bytes(b"gone")
    assert (parameters.shape("arg:w"), parameters.dtype("arg:w")) == ((64, 32), np.float16)


@pytest.mark.parametrize(
    "layout", ["params_v0", "params_v1", "params_v3", "npz", "params_gpu", "names_without_prefix", "extra_params"]
)
def test_recorded_layouts_hold_the_same_numbers(layout: str, tmp_path: Path) -> None:
    folder = unpack(tmp_path) / "old"
    usual = open_params(folder / "tiny_v2-0000.params")
    other = open_params(folder / f"tiny_{layout}-0000.params")
    bare = {name.rpartition(":")[2]: array.tolist() for name, array in other.items()}
    assert {name.rpartition(":")[2]: array.tolist() for name, array in usual.items()}.items() <= bare.items()
