import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from converters.pickles import UnreadablePickle, harmless, pickle_globals
from converters.pytorch.pt2_archive import vet_archive
from converters.publish import Published
from model_store.errors import SourceError, TrustRequired

Publish = Callable[..., Published]
Answers = Callable[..., dict[str, np.ndarray]]
Record = Callable[[Path], tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]


def shapes(published: Published) -> dict[str, tuple[str, tuple[int, ...]]]:
    signature = published.manifest.signatures["serving_default"]
    return {spec.name: (spec.datatype, spec.shape) for spec in (*signature.inputs, *signature.outputs)}


def test_names_dynamic_dimensions_and_answers_are_the_program_s(
    exports: Callable[[str], Path], publish: Publish, answers: Answers, record: Record
) -> None:
    folder = exports("pytorch")
    published = publish(folder / "named.pt2", largest_batch=16)
    assert shapes(published) == {
        "words": ("INT64", (-1, -1)),
        "bias": ("FP32", (-1, 4)),
        "scores": ("FP32", (-1, 4)),
        "best": ("INT64", (-1,)),
    }
    assert published.manifest.framework == "pytorch"
    assert published.manifest.parity is not None
    assert published.manifest.parity.reference.startswith("pytorch 2.")
    assert published.manifest.row_independent
    assert set(published.manifest.libraries) == {"torch", "onnxscript", "onnx"}
    inputs, expected = record(folder / "named.npz")
    got = answers(published, inputs)
    np.testing.assert_allclose(got["scores"], expected["scores"], rtol=1e-5, atol=1e-6)
    assert np.array_equal(got["best"], expected["best"])


def test_a_tuple_is_numbered_and_a_fixed_batch_stays_fixed(
    exports: Callable[[str], Path], publish: Publish, answers: Answers, record: Record
) -> None:
    folder = exports("pytorch")
    published = publish(folder / "fixed.pt2")
    assert shapes(published) == {
        "x": ("FP32", (2, 3)),
        "output_0": ("FP32", (2, 3)),
        "output_1": ("FP32", (2,)),
    }
    assert published.manifest.parity is not None
    assert published.manifest.parity.batches == (2,)
    assert not published.manifest.row_independent
    inputs, expected = record(folder / "fixed.npz")
    got = answers(published, inputs)
    np.testing.assert_allclose(got["output_1"], expected["output_1"], rtol=1e-6)


def test_a_program_that_mixes_rows_is_published_as_not_row_independent(
    exports: Callable[[str], Path], publish: Publish
) -> None:
    published = publish(exports("pytorch") / "leaky.pt2", largest_batch=8)
    assert shapes(published) == {"x": ("FP32", (-1, 3)), "output": ("FP32", (-1, 3))}
    assert not published.manifest.row_independent


class Marker:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return exec, (f"open({str(self.path)!r}, 'w').close()",)


def rewritten(source: Path, target: Path, changes: dict[str, bytes]) -> Path:
    """The archive with some members changed or added; names leave out the root folder."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        root = old.namelist()[0].split("/", 1)[0]
        for info in old.infolist():
            name = info.filename.split("/", 1)[1]
            if name not in changes:
                new.writestr(info.filename, old.read(info))
        for name, data in changes.items():
            new.writestr(f"{root}/{name}", data)
    return target


def saved_tensor(path: Path, pickled: bytes) -> bytes:
    """What torch.save writes, around another pickle."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", "3\n")
    return path.read_bytes()


def member(source: Path, name: str) -> bytes:
    with zipfile.ZipFile(source) as archive:
        return archive.read(next(each for each in archive.namelist() if each.endswith(name)))


@pytest.fixture
def evil(quickstart: Path, tmp_path: Path) -> Path:
    pickled = pickle.dumps(Marker(tmp_path / "ran"), 2)
    data = saved_tensor(tmp_path / "inner.pt", pickled)
    return rewritten(quickstart / "digits.pt2", tmp_path / "evil.pt2", {"data/sample_inputs/model.pt": data})


def test_code_in_sample_inputs_is_refused_and_does_not_run(evil: Path, tmp_path: Path, publish: Publish) -> None:
    with pytest.raises(
        TrustRequired, match=r"sample_inputs/model\.pt' is a pickle that imports '__builtin__\.exec', .*`trust: true`"
    ):
        publish(evil)
    assert not (tmp_path / "ran").exists()


def test_trust_loads_the_file_as_it_is(evil: Path, tmp_path: Path) -> None:
    assert vet_archive(evil, tmp_path / "clean.pt2", trust=True) == evil
    assert not (tmp_path / "clean.pt2").exists()


def test_a_pickle_that_hides_its_imports_is_refused(quickstart: Path, tmp_path: Path) -> None:
    data = saved_tensor(tmp_path / "inner.pt", pickle.dumps(Marker(tmp_path / "ran"), 4))
    source = rewritten(quickstart / "digits.pt2", tmp_path / "e.pt2", {"data/sample_inputs/model.pt": data})
    with pytest.raises(TrustRequired, match=r"can't be read safely \(builtins\.exec\)"):
        vet_archive(source, tmp_path / "clean.pt2", trust=False)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("data/weights/model.pt", b"PK", "is pickled by an old PyTorch; export the model again"),
        ("data/constants/custom_obj_0", b"x", "is an object of a custom class"),
        ("data/constants/opaque_obj_0", b"x", "is an object of a custom class"),
        ("data/aotinductor/model/a.so", b"\x7fELF", "is compiled code"),
        (
            "data/constants/model_constants_config.json",
            b'{"config": {"c": {"path_name": "tensor_0", "use_pickle": true}}}',
            "has pickled tensors",
        ),
    ],
)
def test_members_that_run_code_are_refused(
    quickstart: Path, tmp_path: Path, name: str, data: bytes, message: str
) -> None:
    source = rewritten(quickstart / "digits.pt2", tmp_path / "e.pt2", {name: data})
    with pytest.raises(SourceError, match=message):
        vet_archive(source, tmp_path / "clean.pt2", trust=False)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"torch.ops.aten.relu.default"', '"torch.os.system"', r"calls 'torch\.os\.system', which is no operator"),
        ('"torch.ops.aten.relu.default"', '"_operator.attrgetter"', r"calls '_operator\.attrgetter'"),
        ("Symbol('s", "exec('s", "that is no arithmetic"),
        ("positive=True", "positive=eval(chr(49))", "that is no arithmetic"),
        ("positive=True", "positive=Integer.mro", "that is no arithmetic"),
    ],
)
def test_programs_that_name_code_are_refused(
    quickstart: Path, tmp_path: Path, old: str, new: str, message: str
) -> None:
    program = member(quickstart / "digits.pt2", "models/model.json").decode()
    assert old in program
    changed = program.replace(old, new).encode()
    source = rewritten(quickstart / "digits.pt2", tmp_path / "e.pt2", {"models/model.json": changed})
    with pytest.raises(TrustRequired, match=message):
        vet_archive(source, tmp_path / "clean.pt2", trust=False)


def test_what_pytorch_reads_holds_no_pickle(quickstart: Path, tmp_path: Path) -> None:
    clean = vet_archive(quickstart / "digits.pt2", tmp_path / "clean.pt2", trust=False)
    with zipfile.ZipFile(clean) as archive:
        assert archive.read("vetted/data/sample_inputs/model.pt") == b""
        assert [name for name in archive.namelist() if archive.read(name)[:2] == b"PK"] == []


def test_an_archive_of_an_old_layout_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "old.pt2", "w") as archive:
        archive.writestr("serialized_exported_program.json", "{}")
    with pytest.raises(SourceError, match=r"layout of an old PyTorch; export it again with PyTorch 2\.9 or later"):
        vet_archive(tmp_path / "old.pt2", tmp_path / "clean.pt2", trust=False)


def test_a_damaged_member_is_told(quickstart: Path, tmp_path: Path) -> None:
    data = bytearray((quickstart / "digits.pt2").read_bytes())
    data[data.index(b"graph_module") + 4] ^= 0xFF
    (tmp_path / "e.pt2").write_bytes(data)
    with pytest.raises(SourceError, match=r"'e\.pt2' is cut off or damaged: Bad CRC-32"):
        vet_archive(tmp_path / "e.pt2", tmp_path / "clean.pt2", trust=False)


def test_an_archive_that_inflates_is_refused(quickstart: Path, tmp_path: Path) -> None:
    source = rewritten(quickstart / "digits.pt2", tmp_path / "e.pt2", {})
    with zipfile.ZipFile(source, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("digits/data/weights/weight_9", bytes(8 << 20))
    with pytest.raises(SourceError, match=r"member 'digits/data/weights/weight_9' inflates suspiciously"):
        vet_archive(source, tmp_path / "clean.pt2", trust=False)


def test_globals_of_a_pickle_are_told_without_running_it(tmp_path: Path) -> None:
    assert pickle_globals(pickle.dumps(Marker(tmp_path / "ran"), 2)) == ["__builtin__.exec"]
    assert pickle_globals(pickle.dumps({"a": [1.5]}, 2)) == []
    assert not (tmp_path / "ran").exists()


def test_garbage_is_no_pickle() -> None:
    with pytest.raises(UnreadablePickle):
        pickle_globals(b"\xff\xff")


@pytest.mark.parametrize("name", ["torch._utils._rebuild_tensor_v2", "torch.FloatStorage", "collections.OrderedDict"])
def test_tensors_are_harmless(name: str) -> None:
    assert harmless(name)


@pytest.mark.parametrize("name", ["os.system", "torch.load", "torch.hub.load", "torch._utils.x", "builtins.eval"])
def test_other_names_are_not_harmless(name: str) -> None:
    assert not harmless(name)
