"""MXNet: models whose answers MXNet 1.9.1 itself recorded, single operators and old layouts of the files among them.

The answers lie in `tests/converters/mxnet/recorded.zip`, because no current Python has MXNet. Nets that are written
here (`mxnet_writing.py`) have numpy's answers, or none where they are refused.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from converters.mxnet.model import head_names
from converters.mxnet.symbol import read_symbol
from model_store.datatypes import DATATYPES
from model_store.manifest import TensorSpec
from tests.converters.mxnet.recorded import ARCHIVE, case_names
from tests.sources.mxnet_writing import Net, perceptron, write_params
from tests.sources.table import Built, Call, SourceCase, Tensors

KINDS = {
    "ops": "MXNet: one or a few operators, answers of MXNet 1.9.1",
    "nets": "MXNet: small nets of users (recurrent, attention, loops, quantised), answers of MXNet 1.9.1",
    "zoo": "MXNet: nets of the Gluon model zoo",
    "old": "MXNet: files of releases 0.8 to 2.x, sparse parameters",
    "": "MXNet: trained nets for CIFAR-10",
}


@cache
def _arrays(name: str) -> Mapping[str, np.ndarray]:
    with zipfile.ZipFile(ARCHIVE) as archive, archive.open(f"{name}.io.npz") as file, np.load(file) as arrays:
        found = {key: arrays[key] for key in arrays.files}
    return {"in:data": found["x"], "out:0": found["y"]} if "x" in found else found


def _inputs(name: str, mark: str) -> Tensors:
    arrays = {
        key.removeprefix(f"in{mark}:"): each for key, each in _arrays(name).items() if key.startswith(f"in{mark}:")
    }
    return {key: array for key, array in arrays.items() if not key.endswith("label")}


def _outputs(name: str, mark: str) -> list[np.ndarray]:
    arrays = _arrays(name)
    return [arrays[key] for place in range(len(arrays)) if (key := f"out{mark}:{place}") in arrays]


ONE_BATCH = frozenset((
    "ops/gluon_gru_ntc_bi", "nets/foreach_gluon", "nets/foreach_nested", "nets/foreach_nostate", "nets/foreach_rnn",
    "nets/foreach_two", "nets/lm_mask_tnc", "nets/np_lms_gru",
))  # fmt: skip
"""Models whose inputs, or input and output, have the batch at different axes: the gate draws free sizes without knowing
that two are one, so they are declared for one batch (`test_recorded.py` tries both)."""


def _marks(name: str) -> tuple[str, ...]:
    return ("",) if name in ONE_BATCH else ("", "2")


def _recorded(name: str, folder: Path) -> Built:
    stem = name.rpartition("/")[2]
    with zipfile.ZipFile(ARCHIVE) as archive:
        for end in ("-symbol.json", "-0000.params"):
            (folder / f"{stem}{end}").write_bytes(archive.read(f"{name}{end}"))
    heads = head_names(read_symbol(folder / f"{stem}-symbol.json"), {})
    calls = [
        Call(_inputs(name, mark), dict(zip(heads, outputs, strict=True)))
        for mark in _marks(name)
        if (outputs := _outputs(name, mark))
    ]
    return Built(folder / f"{stem}-0000.params", tuple(calls))


def _declared(name: str) -> tuple[TensorSpec, ...]:
    """The inputs, with -1 for sizes that differ between the two recorded calls."""
    first, second = _inputs(name, ""), _inputs(name, _marks(name)[-1])
    return tuple(
        TensorSpec(
            key,
            DATATYPES[array.dtype],
            tuple(
                size if size == other else -1
                for size, other in zip(array.shape, second.get(key, array).shape, strict=True)
            ),
        )
        for key, array in first.items()
    )


EXCEPTIONS: Mapping[str, Mapping[str, Any]] = {}
"""Recorded models that are not ONNX: name -> `expect`, `reason` and `remark`."""


def _recorded_case(name: str) -> SourceCase:
    folder, _, stem = name.rpartition("/")
    given = {"expect": "onnx", "options": {"inputs": _declared(name), "largest_batch": 8}, **EXCEPTIONS.get(name, {})}
    return SourceCase(f"mxnet-{folder or 'cifar'}-{stem}", "mxnet", KINDS[folder], partial(_recorded, name), **given)


def _refused(name: str, build: Callable[[Path], Path], reason: str, remark: str, **options: Any) -> SourceCase:
    def built(folder: Path) -> Built:
        return Built(build(folder), ())

    return SourceCase(
        f"mxnet-{name}", "mxnet", "MXNet: models that can't be moved", built, "refused", remark, options, reason=reason
    )


def _custom(folder: Path) -> Path:
    net = Net()
    return net.save(folder, "custom", net.op("Custom", "mine", net.variable("data"), op_type="mine"))


def _fused(folder: Path) -> Path:
    net = Net()
    return net.save(folder, "fused", net.op("_sg_mkldnn_conv", "conv0", net.variable("data")))


def _gluon_parameters(folder: Path) -> Path:
    perceptron(folder, "mlp")
    write_params(folder / "mlp-0000.params", {"features.0.weight": np.ones((2, 2), np.float32)})
    return folder / "mlp-0000.params"


def _alone(folder: Path) -> Path:
    params = perceptron(folder, "mlp")
    (folder / "mlp-symbol.json").unlink()
    return params


_DATA = (TensorSpec("data", "FP32", (-1, 8)),)

CASES: list[SourceCase] = [
    *map(_recorded_case, case_names()),
    _refused("custom-operator", _custom, r"Custom \(mine, whose Python code is not in the file\)",
             "an operator in Python is not in the file: replace it in the net and export again", inputs=_DATA),
    _refused("backend-operators", _fused, r"_sg_mkldnn_conv .*export the model without it",
             "the graph of a backend's optimiser: export without one", inputs=_DATA),
    _refused("gluon-save-parameters", _gluon_parameters, r"save_parameters.*net\.export\(PREFIX\)",
             "parameters of `save_parameters` have no graph: write both files with `net.export(PREFIX)`", inputs=_DATA),
    _refused("parameters-alone", _alone, "has no graph beside it",
             "the graph is a file of its own: keep both files side by side", inputs=_DATA),
    _refused("undeclared-inputs", perceptron, r"declare `inputs: \[\{name: data, datatype: FP32, shape: \[-1, 8\]\}\]`",
             "an MXNet graph carries no shapes: declare `inputs:`; the message says what the first layer tells"),
]  # fmt: skip
