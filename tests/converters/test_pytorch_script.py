"""TorchScript: what its code may call, how its inputs are declared, and modules that keep state."""

import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from converters.base import ConversionOptions, detect
from converters.native import load_native
from converters.pipeline import ConversionRequest, Converted, convert_source
from converters.pytorch.script_archive import check_script, vet_script
from model_store.errors import ConfigError, ConversionError, SourceError, TrustRequired
from model_store.manifest import Signature, TensorSpec

pytestmark = pytest.mark.filterwarnings("ignore")
# PyTorch warns that TorchScript is deprecated, each time that it is touched.

X = TensorSpec("x", "FP32", (-1, 3))


def archive(path: Path, forward: str) -> Path:
    """A TorchScript archive whose module has the method `forward`, as PyTorch lays it out."""
    code = f"class Net(Module):\n  __parameters__ = []\n  __buffers__ = []\n  training : bool\n{forward}"
    with zipfile.ZipFile(path, "w") as target:
        target.writestr("net/data.pkl", b"\x80\x02}.")
        target.writestr("net/code/__torch__.py", code)
        target.writestr("net/code/__torch__.py.debug_pkl", b"\x80\x02}.")
        target.writestr("net/constants.pkl", b"\x80\x02).")
        target.writestr("net/version", "3\n")
    return path


def method(body: str) -> str:
    return f"  def forward(self: __torch__.Net,\n    x: Tensor) -> Tensor:\n    {body}\n"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('return torch.from_file("/etc/passwd")', r"calls 'from_file', which reaches beyond the model; say `trust: tr"),
        ('torch.save(x, "/tmp/x")', "calls 'save'"),
        ('torch . save(x, "/tmp/x")', "calls 'save'"),
        ('_0 = getattr(torch, "save")(x, "/tmp/x")', "calls 'save'"),
        ("_0 = torch\n    return x", "hands on the operators of PyTorch as a value"),
        ("return getattr(torch, x)", "hands on the operators of PyTorch as a value"),
        ("return ops.c10d.barrier(x)", "calls operators of the library 'c10d', which is not PyTorch's own"),
        ("return ops.mylib.evil(x)", "calls operators of the library 'mylib'"),
        ("_0 = ops\n    return _0.c10d.barrier(x)", "calls operators of the library None"),
        ('_0 = rpc_sync("worker", x)', "calls 'rpc_sync'"),
        ("_0 = __torch__.torch.classes._nnapi.Compilation.__new__()", r"custom class '_nnapi\.Compilation'"),
    ],
)
def test_code_that_does_more_than_compute_is_refused(tmp_path: Path, body: str, message: str) -> None:
    source = archive(tmp_path / "net.pt", method(body))
    with pytest.raises(TrustRequired, match=message):
        vet_script(source, tmp_path / "clean.ts")
    with pytest.raises(TrustRequired, match=message):
        check_script(source)


@pytest.mark.parametrize(
    "body",
    [
        "return torch.add(x, 1)",
        'ops.prim.RaiseException("torch could not", "builtins.ValueError")',
        "return ops.quantized.add(x, x, 1., 0)",
        "_0 = __torch__.torchvision.ops.misc.Conv2d\n    return x",
        "return (self._packed_params).linear(x, __torch__.torch.classes.quantized.LinearPackedParamsBase)",
        "saved = self.saved\n    return torch.mul(saved, x)",
    ],
)
def test_code_that_computes_is_kept(tmp_path: Path, body: str) -> None:
    clean = vet_script(archive(tmp_path / "net.pt", method(body)), tmp_path / "clean.ts")
    with zipfile.ZipFile(clean) as target:
        assert sorted(target.namelist()) == [
            "vetted/code/__torch__.py",
            "vetted/constants.pkl",
            "vetted/data.pkl",
            "vetted/version",
        ]


def test_code_that_was_saved_on_a_gpu_is_moved_to_the_cpu(tmp_path: Path) -> None:
    source = archive(tmp_path / "net.pt", method('return torch.to(x, torch.device("cuda:1"), torch.device("cpu"))'))
    with zipfile.ZipFile(vet_script(source, tmp_path / "clean.ts")) as target:
        code = target.read("vetted/code/__torch__.py")
    assert code.count(b'torch.device("cpu")') == 2
    assert b"cuda" not in code


def test_an_object_of_a_custom_class_is_refused(tmp_path: Path) -> None:
    source = archive(tmp_path / "net.pt", method("return x"))
    with zipfile.ZipFile(source, "a") as target:
        target.writestr("net/CODE/__torch__/hidden.py", "import os")
    with zipfile.ZipFile(vet_script(source, tmp_path / "clean.ts")) as clean:
        assert not [name for name in clean.namelist() if "hidden" in name]
    with zipfile.ZipFile(tmp_path / "object.pt", "w") as target:
        target.writestr("net/data.pkl", b"\x80\x02c__torch__.torch.classes.dist_rpc\nWorkerInfo\n)\x81.")
        target.writestr("net/constants.pkl", b"\x80\x02).")
    with pytest.raises(TrustRequired, match=r"'data\.pkl' has objects of the custom class 'dist_rpc\.WorkerInfo'"):
        vet_script(tmp_path / "object.pt", tmp_path / "c.ts")


def test_a_damaged_archive_is_told(tmp_path: Path) -> None:
    source = archive(tmp_path / "net.pt", method("return torch.add(x, 1)"))
    data = bytearray(source.read_bytes())
    data[data.index(b"return torch") + 3] ^= 0xFF
    source.write_bytes(data)
    with pytest.raises(SourceError, match=r"source 'net\.pt' is cut off or damaged: Bad CRC-32"):
        vet_script(source, tmp_path / "clean.ts")


def scripted(path: Path, name: str) -> Path:
    import torch

    class Counter(torch.nn.Module):
        """Adds how often it was called, and keeps the last input."""

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", torch.zeros(1))
            self.last = torch.zeros(1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls.add_(1.0)
            y = x + self.calls + self.last.sum()
            self.last = x
            return y

    class Scaled(torch.nn.Module):
        """A number, a pair and a tensor."""

        def forward(
            self, x: torch.Tensor, pair: tuple[torch.Tensor, torch.Tensor], times: int, bias: float = 0.5
        ) -> dict[str, torch.Tensor]:
            return {"y": (x + pair[0] - pair[1]) * times + bias}

    nets = {"counter": Counter(), "scaled": Scaled(), "training": torch.nn.BatchNorm1d(3)}
    torch.jit.save(torch.jit.script(nets[name]), path / f"{name}.pt")
    return path / f"{name}.pt"


def convert(source: Path, tmp_path: Path, **options: object) -> Converted:
    workdir = tmp_path / "work"
    workdir.mkdir()
    chosen = ConversionOptions(**options)  # type: ignore[arg-type]
    request = ConversionRequest(
        framework=detect(source).framework, source=str(source), workdir=str(workdir), options=chosen
    )
    return convert_source(request, lambda _: None)


def test_a_module_that_keeps_state_answers_as_if_just_loaded(tmp_path: Path) -> None:
    converted = convert(scripted(tmp_path, "counter"), tmp_path, inputs=(X,), to="native")
    assert converted.parity.reference.endswith(" as if just loaded")
    assert converted.parity.deterministic
    assert converted.parity.row_independent
    model = load_native("pytorch", tmp_path / "work" / "native", converted.signatures)
    ones = np.ones((2, 3), np.float32)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: model.run({"x": ones}, "serving_default")["output"], range(20)))
    assert all(np.array_equal(answer, ones + 1) for answer in answers)


def test_a_batch_norm_saved_in_training_is_evaluated(tmp_path: Path) -> None:
    converted = convert(scripted(tmp_path, "training"), tmp_path, inputs=(TensorSpec("input", "FP32", (-1, 3)),))
    assert converted.runtime == "onnx"
    assert converted.parity.row_independent


def test_nested_arguments_and_numbers_are_declared_one_by_one(tmp_path: Path) -> None:
    inputs = (
        X,
        TensorSpec("pair_0", "FP32", (-1, 3)),
        TensorSpec("pair_1", "FP32", (-1, 3)),
        TensorSpec("times", "INT64", ()),
    )
    converted = convert(scripted(tmp_path, "scaled"), tmp_path, inputs=inputs)
    assert converted.runtime == "onnx"
    assert converted.signatures["serving_default"] == Signature(inputs, (TensorSpec("y", "FP32", (-1, 3)),))


@pytest.mark.parametrize(
    ("inputs", "kind", "message"),
    [
        (
            None,
            ConfigError,
            r"source 'scaled\.pt' is TorchScript, which carries no shapes of its inputs; forward takes x: Tensor, "
            r"pair: Tuple\[Tensor, Tensor\], times: int, bias: float: write `inputs: \[\{name: x, datatype: FP32, "
            r"shape: \[-1, \.\.\.\]\}, \{name: pair_0, .*\{name: times, datatype: INT64, shape: \[\]\}\]` in the "
            r"config, or `--input x:FP32:-1,\.\.\. --input pair_0:FP32:-1,\.\.\. --input pair_1:FP32:-1,\.\.\. "
            r"--input times:INT64:`",
        ),
        ((X,), ConfigError, r"inputs: nothing is declared for 'pair'; forward takes x: Tensor, pair: Tuple"),
        (
            (X, TensorSpec("other", "FP32", (-1,))),
            ConfigError,
            r"inputs: nothing is declared for 'pair'.*declared are x, other",
        ),
        (
            (
                X,
                TensorSpec("pair_0", "FP32", (-1, 3)),
                TensorSpec("pair_1", "FP32", (-1, 3)),
                TensorSpec("times", "INT64", (-1,)),
            ),
            ConfigError,
            r"inputs: 'times' is int to the model; declare it without dimensions, as shape \[\]",
        ),
        (
            (
                X,
                TensorSpec("pair_0", "FP32", (-1, 4)),
                TensorSpec("pair_1", "FP32", (-1, 3)),
                TensorSpec("times", "INT64", ()),
            ),
            ConversionError,
            r"the TorchScript module refuses inputs as declared \(x: FP32\[-1, 3\], .*: The size of "
            r"tensor a \(3\) must match the size of tensor b \(4\) at non-singleton dimension 1; declare other",
        ),
    ],
)
def test_what_is_declared_wrongly_is_told(
    tmp_path: Path, inputs: tuple[TensorSpec, ...] | None, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message) as refusal:
        convert(scripted(tmp_path, "scaled"), tmp_path, inputs=inputs)
    assert "\n" not in str(refusal.value)


def test_an_input_without_a_place_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"forward has no place for 'y'; it takes x: Tensor \(an item of a nested"):
        convert(scripted(tmp_path, "counter"), tmp_path, inputs=(X, TensorSpec("y", "FP32", (-1,))))


def test_examples_stand_for_declared_inputs(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.arange(12, dtype=np.float32).reshape(4, 3))
    converted = convert(scripted(tmp_path, "counter"), tmp_path, examples=str(tmp_path / "x.npz"))
    assert converted.signatures["serving_default"].inputs == (X,)
