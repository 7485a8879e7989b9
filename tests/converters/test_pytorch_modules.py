"""State dicts and pickled modules: what the config must say, what does not fit, and what is served in the end."""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.base import ConversionOptions, detect
from converters.native import load_native
from converters.pipeline import ConversionRequest, Converted, convert_source
from model_store.errors import ConfigError, SourceError, TrustRequired
from model_store.manifest import Signature, TensorSpec

pytestmark = pytest.mark.filterwarnings("ignore")
# PyTorch warns of its own deprecations when it exports.

X = TensorSpec("x", "FP32", (-1, 3))
CODE = """
import dataclasses
import torch

@dataclasses.dataclass
class Answer:
    scores: torch.Tensor
    best: torch.Tensor
    nothing: torch.Tensor | None = None

class Net(torch.nn.Module):
    def __init__(self, width=2):
        super().__init__()
        self.linear = torch.nn.Linear(3, width)
        self.norm = torch.nn.BatchNorm1d(width)

    def forward(self, x, scale=None):
        scores = self.norm(self.linear(x))
        if scale is not None:
            scores = scores * scale
        return Answer(scores, scores.argmax(1))

class Branching(Net):
    def forward(self, x):
        scores = self.norm(self.linear(x))
        if float(scores[0, 0]) == 12345.0:
            return scores * 2
        return scores

def small():
    return Net()

def broken():
    raise ValueError("no such config")

number = 5
"""


@pytest.fixture
def code(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "netcode.py").write_text(CODE)
    return folder


@pytest.fixture
def module(code: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    import importlib
    import sys

    monkeypatch.syspath_prepend(str(code))
    monkeypatch.delitem(sys.modules, "netcode", raising=False)
    return importlib.import_module("netcode")


def save(value: Any, path: Path, **options: Any) -> Path:
    import torch

    torch.save(value, path, **options)
    return path


def convert(source: Path, tmp_path: Path, **options: Any) -> Converted:
    chosen = ConversionOptions(**options)
    workdir = tmp_path / "work"
    workdir.mkdir()
    converter = detect(source, trust=chosen.trust)
    assert converter.framework == "pytorch"
    request = ConversionRequest(framework="pytorch", source=str(source), workdir=str(workdir), options=chosen)
    return convert_source(request, lambda _: None)


def state(module: Any) -> dict[str, Any]:
    weights: dict[str, Any] = module.Net().state_dict()
    return weights


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda weights: weights,
        lambda weights: {"epoch": 3, "state_dict": weights, "optimizer": {"lr": 0.1}},
        lambda weights: OrderedDict((f"module.{name}", tensor) for name, tensor in weights.items()),
    ],
    ids=["plain", "checkpoint", "of-several-devices"],
)
def test_weights_are_loaded_into_the_module_of_the_config(
    module: Any, code: Path, tmp_path: Path, wrapped: Any
) -> None:
    source = save(wrapped(state(module)), tmp_path / "weights.pth")
    converted = convert(source, tmp_path, module="netcode:small", code_folder=str(code), inputs=(X,))
    assert converted.runtime == "onnx"
    assert converted.signatures["serving_default"] == Signature(
        (X,), (TensorSpec("scores", "FP32", (-1, 2)), TensorSpec("best", "INT64", (-1,)))
    )


def test_natively_no_code_of_the_user_is_needed(
    module: Any, code: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    import torch

    net = module.small().eval()
    source = save(net.state_dict(), tmp_path / "weights.pth")
    converted = convert(source, tmp_path, module="netcode:small", code_folder=str(code), inputs=(X,), to="native")
    assert list(converted.files) == ["model.pt2"]
    monkeypatch.setitem(sys.modules, "netcode", None)
    model = load_native("pytorch", tmp_path / "work" / "native", converted.signatures, threads=1)
    rows = np.arange(6, dtype=np.float32).reshape(2, 3)
    with torch.no_grad():
        expected = net.norm(net.linear(torch.from_numpy(rows))).numpy()
    answer = model.run({"x": rows}, "serving_default")
    np.testing.assert_allclose(answer["scores"], expected, rtol=1e-6)
    assert list(answer) == ["scores", "best"]


def test_a_module_that_torch_export_refuses_is_traced(module: Any, code: Path, tmp_path: Path) -> None:
    source = save(state(module), tmp_path / "weights.pth")
    converted = convert(source, tmp_path, module="netcode:Branching", code_folder=str(code), inputs=(X,), to="native")
    assert list(converted.files) == ["model.ts"]
    assert converted.signatures["serving_default"].outputs == (TensorSpec("output", "FP32", (-1, 2)),)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({}, ConfigError, r"'weights\.pth' holds weights without the module that they belong to: write `module: pack"),
        ({"module": "netcode"}, ConfigError, r"module: expected 'package\.module:name', got 'netcode'"),
        (
            {"module": "nowhere:net"},
            ConfigError,
            r"module: module 'nowhere' can't be imported \(folder .* is searched first\): ModuleNotFoundError",
        ),
        ({"module": "netcode:nothing"}, ConfigError, r"module: module 'netcode' has no 'nothing'"),
        ({"module": "netcode:broken"}, ConfigError, r"calling 'netcode:broken' fails: ValueError: no such config"),
        ({"module": "netcode:Answer"}, ConfigError, r"calling 'netcode:Answer' fails: TypeError"),
        ({"module": "builtins:dict"}, ConfigError, r"'builtins:dict' gives dict; expected a torch\.nn\.Module"),
        (
            {"module": "netcode:small"},
            ConfigError,
            r"'weights\.pth' carries no shapes of its inputs; forward takes x, scale: write `inputs: \[\{name: x, ",
        ),
    ],
)
def test_what_the_config_lacks_is_told(
    module: Any, code: Path, tmp_path: Path, options: dict[str, str], kind: type[Exception], message: str
) -> None:
    source = save(state(module), tmp_path / "weights.pth")
    with pytest.raises(kind, match=message) as refusal:
        convert(source, tmp_path, code_folder=str(code), **options)
    assert "\n" not in str(refusal.value)


def test_weights_that_do_not_fit_are_told(module: Any, code: Path, tmp_path: Path) -> None:
    weights = module.Net(width=4).state_dict()
    weights["extra.weight"] = weights.pop("norm.weight")
    source = save(weights, tmp_path / "weights.pth")
    with pytest.raises(SourceError) as refusal:
        convert(source, tmp_path, module="netcode:small", code_folder=str(code), inputs=(X,))
    assert str(refusal.value) == (
        "source 'weights.pth' does not fit the module of 'netcode:small': 1 missing: norm.weight; 1 unknown: "
        "extra.weight; 5 of another shape: linear.weight is [4, 3] and should be [2, 3], linear.bias is [4] and "
        "should be [2], norm.bias is [4] and should be [2], ..."
    )


def test_a_checkpoint_without_weights_is_told(module: Any, code: Path, tmp_path: Path) -> None:
    source = save({"epoch": 3, "loss": [0.5]}, tmp_path / "weights.pth")
    with pytest.raises(SourceError, match=r"holds a dict of epoch, loss; expected a state dict: names of weights and"):
        convert(source, tmp_path, module="netcode:small", code_folder=str(code), inputs=(X,))


class Marker:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return exec, (f"open({str(self.path)!r}, 'w').close()",)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_pickle_with_code_is_refused_and_does_not_run(tmp_path: Path, zipped: bool) -> None:
    source = save(Marker(tmp_path / "ran"), tmp_path / "module.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(TrustRequired, match=r"source 'module\.pth' is a pickle: loading it runs code"):
        convert(source, tmp_path)
    request = ConversionRequest(
        framework="pytorch", source=str(source), workdir=str(tmp_path), options=ConversionOptions()
    )
    with pytest.raises(TrustRequired, match=r"is a pickle of more than weights, and loading it runs code that it car"):
        convert_source(request, lambda _: None)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_pickled_module_is_converted_with_trust(module: Any, tmp_path: Path, zipped: bool) -> None:
    source = save(module.Net(), tmp_path / "module.pth", _use_new_zipfile_serialization=zipped)
    scale = TensorSpec("scale", "FP32", (-1, 1))
    converted = convert(source, tmp_path, inputs=(X, scale), trust=True)
    assert converted.runtime == "onnx"
    assert [spec.name for spec in converted.signatures["serving_default"].inputs] == ["x", "scale"]


def test_a_class_that_is_not_here_is_told(module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    source = save(module.Net(), tmp_path / "module.pth")
    monkeypatch.setitem(sys.modules, "netcode", None)
    with pytest.raises(
        SourceError, match=r"is pickled with classes that can't be imported here \(.*netcode.*\); insta"
    ):
        convert(source, tmp_path, inputs=(X,), trust=True)


def test_something_else_than_a_module_is_told(tmp_path: Path) -> None:
    source = save([1, 2], tmp_path / "list.pth")
    with pytest.raises(SourceError, match=r"holds list; expected a state dict or a torch\.nn\.Module"):
        convert(source, tmp_path, trust=True)
