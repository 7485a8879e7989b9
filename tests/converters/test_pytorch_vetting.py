"""What a `.pt2` may hold: hostile archives are refused before PyTorch sees them."""

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from converters.pickles import UnreadablePickle, harmless, pickle_globals
from converters.publish import Published
from converters.pytorch.exports import vet_or_trust
from converters.pytorch.pt2_archive import vet_archive
from converters.pytorch.tree_specs import plain_spec
from model_store.errors import SourceError, TrustRequired

Publish = Callable[..., Published]


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
    vet_or_trust(vet_archive, evil, tmp_path / "kept.pt2", trust=True)
    assert (tmp_path / "kept.pt2").read_bytes() == evil.read_bytes()
    with pytest.raises(TrustRequired):
        vet_or_trust(vet_archive, evil, tmp_path / "kept.pt2", trust=False)


def test_a_pickle_that_hides_its_imports_is_refused(quickstart: Path, tmp_path: Path) -> None:
    data = saved_tensor(tmp_path / "inner.pt", pickle.dumps(Marker(tmp_path / "ran"), 4))
    source = rewritten(quickstart / "digits.pt2", tmp_path / "e.pt2", {"data/sample_inputs/model.pt": data})
    with pytest.raises(TrustRequired, match=r"can't be read safely \(builtins\.exec\)"):
        vet_archive(source, tmp_path / "clean.pt2")


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("data/weights/model.pt", b"PK", r"is a pickle that can't be read safely"),
        ("data/constants/custom_obj_0", b"x", "is an object of a custom class"),
        ("data/constants/opaque_obj_0", b"x", "is an object of a custom class"),
        ("data/aotinductor/model/a.so", b"\x7fELF", "is compiled code"),
        ("data/weights/MODEL_WEIGHTS_CONFIG.json", b'{"config": {"w": {"use_pickle": true}}}', "has pickled tensors"),
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
        vet_archive(source, tmp_path / "clean.pt2")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"torch.ops.aten.relu.default"', '"torch.os.system"', r"calls 'torch\.os\.system', which is no operator"),
        ('"torch.ops.aten.relu.default"', '"_operator.attrgetter"', r"calls '_operator\.attrgetter'"),
        ('"torch.ops.aten.relu.default"', '"torch.ops.aten.from_file.default"', "which reaches beyond the model"),
        ('"as_tensor"', '"as_operator": "torch.os.system", "as_tensor"', r"calls 'torch\.os\.system'"),
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
        vet_archive(source, tmp_path / "clean.pt2")


def test_what_pytorch_reads_holds_no_pickle(quickstart: Path, tmp_path: Path) -> None:
    clean = vet_archive(quickstart / "digits.pt2", tmp_path / "clean.pt2")
    with zipfile.ZipFile(clean) as archive:
        assert archive.read("vetted/data/sample_inputs/model.pt") == b""
        assert [name for name in archive.namelist() if archive.read(name)[:2] == b"PK"] == []


def old_layout(source: Path, target: Path, tensors: bytes) -> Path:
    """The archive as PyTorch 2.7 would have written it."""
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("serialized_exported_program.json", member(source, "models/model.json"))
        archive.writestr("version", "8.9")
        for name in ("state_dict", "constants", "example_inputs"):
            archive.writestr(f"serialized_{name}.pt", tensors)
    return target


def test_an_archive_of_an_old_layout_is_written_anew(quickstart: Path, tmp_path: Path) -> None:
    data = saved_tensor(tmp_path / "inner.pt", pickle.dumps({"weight": 1.5}, 2))
    source = old_layout(quickstart / "digits.pt2", tmp_path / "old.pt2", data)
    clean = vet_archive(source, tmp_path / "clean.pt2")
    with zipfile.ZipFile(clean) as archive:
        assert sorted(archive.namelist()) == [
            "serialized_constants.pt",
            "serialized_example_inputs.pt",
            "serialized_exported_program.json",
            "serialized_state_dict.pt",
            "version",
        ]
        with zipfile.ZipFile(io.BytesIO(archive.read("serialized_state_dict.pt"))) as inner:
            assert inner.namelist() == ["archive/data.pkl", "archive/version"]


def test_code_among_the_weights_of_an_old_layout_is_refused(quickstart: Path, tmp_path: Path) -> None:
    data = saved_tensor(tmp_path / "inner.pt", pickle.dumps(Marker(tmp_path / "ran"), 2))
    source = old_layout(quickstart / "digits.pt2", tmp_path / "old.pt2", data)
    with pytest.raises(TrustRequired, match=r"serialized_state_dict\.pt' is a pickle that imports '__builtin__\.exec'"):
        vet_archive(source, tmp_path / "clean.pt2")
    assert not (tmp_path / "ran").exists()


def test_a_damaged_member_is_told(quickstart: Path, tmp_path: Path) -> None:
    data = bytearray((quickstart / "digits.pt2").read_bytes())
    data[data.index(b"graph_module") + 4] ^= 0xFF
    (tmp_path / "e.pt2").write_bytes(data)
    with pytest.raises(SourceError, match=r"'e\.pt2' is cut off or damaged: Bad CRC-32"):
        vet_archive(tmp_path / "e.pt2", tmp_path / "clean.pt2")


def test_an_archive_that_inflates_is_refused(quickstart: Path, tmp_path: Path) -> None:
    source = rewritten(quickstart / "digits.pt2", tmp_path / "e.pt2", {})
    with zipfile.ZipFile(source, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("digits/data/weights/weight_9", bytes(8 << 20))
    with pytest.raises(SourceError, match=r"member 'digits/data/weights/weight_9' inflates suspiciously"):
        vet_archive(source, tmp_path / "clean.pt2")


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


LEAF = {"type": None, "context": None, "children_spec": []}


@pytest.mark.parametrize(
    ("kind", "context", "plain_kind", "plain_context"),
    [
        ("builtins.dict", '["a", "b"]', "builtins.dict", '["a", "b"]'),
        ("builtins.tuple", "null", "builtins.tuple", "null"),
        ("transformers.modeling_outputs.BaseModelOutput", '["a", "b"]', "builtins.dict", '["a", "b"]'),
        ("mine.Answer", '[["a", "b"], ["nothing"]]', "builtins.dict", '["a", "b"]'),
        ("collections.OrderedDict", '["a", "b"]', "builtins.dict", '["a", "b"]'),
        ("builtins.list", "null", "builtins.list", "null"),
        # PyTorch would import the modules that these name.
        (
            "collections.defaultdict",
            '{"default_factory_module": "os", "default_factory_name": "system", "dict_context": ["a", "b"]}',
            "builtins.dict",
            '["a", "b"]',
        ),
        (
            "builtins.dict",
            '[{"__enum__": true, "fqn": "os:X", "name": "a"}, {"__enum__": true, "fqn": "os:X", "name": "b"}]',
            "builtins.dict",
            '["a", "b"]',
        ),
        ("builtins.tuple", '[{"__enum__": true, "fqn": "os:X", "name": "a"}, "b"]', "builtins.tuple", "null"),
        ("mine.Pair", '"anything"', "builtins.tuple", "null"),
        ("mine.Pair", '["a"]', "builtins.tuple", "null"),
        ("mine.Pair", "not JSON", "builtins.tuple", "null"),
    ],
)
def test_outputs_need_no_class_of_another_library(kind: str, context: str, plain_kind: str, plain_context: str) -> None:
    spec = {"type": kind, "context": context, "children_spec": [LEAF, LEAF]}
    outer = {"type": "builtins.tuple", "context": "null", "children_spec": [spec]}
    version, plain = json.loads(plain_spec(json.dumps([1, outer])))
    assert version == 1
    assert plain["children_spec"] == [{"type": plain_kind, "context": plain_context, "children_spec": [LEAF, LEAF]}]


@pytest.mark.parametrize("text", ["no JSON", "[2, {}]", "{}", "[1, 2]"])
def test_a_description_of_another_kind_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"Expecting value|does not describe inputs or outputs in a known way"):
        plain_spec(text)


@pytest.mark.filterwarnings("ignore")
def test_a_program_that_was_exported_on_a_gpu_is_loaded_on_the_cpu(tmp_path: Path) -> None:
    import torch

    from converters.pytorch.loading import load_program
    from converters.pytorch.program import ProgramCall

    class Shifted(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(3, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.linear(x) + torch.ones(2, device="cpu")

    module, x = Shifted(), torch.randn(4, 3)
    torch.export.save(torch.export.export(module, (x,)), tmp_path / "cpu.pt2")
    cpu, gpu = b'{"type": "cpu", "index": null}', b'{"type": "cuda", "index": 0}'
    names = ("models/model.json", "data/weights/model_weights_config.json")
    changes = {name: member(tmp_path / "cpu.pt2", name).replace(cpu, gpu) for name in names}
    assert all(change.count(gpu) > 1 for change in changes.values())
    source = rewritten(tmp_path / "cpu.pt2", tmp_path / "gpu.pt2", changes)
    program = load_program(vet_archive(source, tmp_path / "clean.pt2"), "gpu.pt2")
    answer = ProgramCall(program)({"x": x.numpy()})["output"]
    torch.testing.assert_close(torch.from_numpy(answer), module(x).detach())
