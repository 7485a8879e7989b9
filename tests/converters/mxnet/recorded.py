"""Models with inputs and outputs that MXNet 1.9.1 recorded: reading them, running them both ways, comparing."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from converters.graph import session_options
from converters.mxnet.binding import Binding, bind, complete
from converters.mxnet.emitter import Emitter
from converters.mxnet.onnx_nodes import new_model
from converters.mxnet.params import Parameters, open_params
from converters.mxnet.reference.interpreter import Interpreter
from converters.mxnet.symbol import read_symbol
from converters.mxnet.translate import check_operators, translate
from converters.mxnet.values import Size

ARCHIVE = Path(__file__).with_name("recorded.zip")
"""`NAME-symbol.json`, `NAME-0000.params` and `NAME.io.npz` of each model; the README inside says how they were made."""

Tensors = dict[str, np.ndarray]
Pair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Recorded:
    """A model, and for each recorded call its inputs and outputs."""

    binding: Binding
    parameters: Parameters
    calls: tuple[tuple[Tensors, list[np.ndarray]], ...]


def unpack(folder: Path) -> Path:
    """Writes all cases into `folder`."""
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(folder)
    return folder


def case_names() -> list[str]:
    """All cases, as `ops/add_n`."""
    with zipfile.ZipFile(ARCHIVE) as archive:
        return [name.removesuffix("-symbol.json") for name in archive.namelist() if name.endswith("-symbol.json")]


def load_case(symbol: Path) -> Recorded:
    """The case whose graph lies at `symbol`."""
    stem = symbol.name.removesuffix("-symbol.json")
    parameters = open_params(symbol.with_name(f"{stem}-0000.params"))
    binding = bind(complete(read_symbol(symbol)), parameters)
    with np.load(symbol.with_name(f"{stem}.io.npz")) as archive:
        arrays = {name: archive[name] for name in archive.files}
    if "x" in arrays:
        return Recorded(binding, parameters, (({"data": arrays["x"]}, [arrays["y"]]),))
    calls = tuple(call for mark in ("", "2") if (call := _call(arrays, mark))[1])
    return Recorded(binding, parameters, calls)


def _call(arrays: Mapping[str, np.ndarray], mark: str) -> tuple[Tensors, list[np.ndarray]]:
    inputs = {name.partition(":")[2]: array for name, array in arrays.items() if name.startswith(f"in{mark}:")}
    outputs = [arrays[name] for place in range(len(arrays)) if (name := f"out{mark}:{place}") in arrays]
    return inputs, outputs


def run_translated(case: Recorded) -> Iterator[Pair]:
    """Pairs of expected and computed outputs, through ONNX Runtime. Sizes that differ between the calls are unknown to
    the translation."""
    session = onnxruntime.InferenceSession(
        _translated(case), session_options(threads=1), providers=["CPUExecutionProvider"]
    )
    names = {arg.name for arg in session.get_inputs()}
    for inputs, outputs in case.calls:
        feeds = {name: array for name, array in inputs.items() if name in names}
        yield from zip(outputs, session.run(None, feeds), strict=True)


def _translated(case: Recorded) -> bytes:
    binding, first = case.binding, case.calls[0][0]
    check_operators(binding.graph)
    g = Emitter()
    variables = {
        index: g.weight(case.parameters.dtype(key), case.parameters.shape(key), lambda key=key: case.parameters[key])
        for index, key in binding.parameters.items()
    }
    inputs = {name: g.input(name, first[name].dtype, _sizes(case, name)) for name in binding.inputs if name in first}
    variables.update({i: inputs.get(name) for name, indices in binding.inputs.items() for i in indices})
    heads = translate(binding.graph, g, variables)
    model = new_model("case")
    g.finish(model.graph, list(inputs.values()), [(f"output{place}", head) for place, head in enumerate(heads)])
    return g.serialized(model)


def _sizes(case: Recorded, name: str) -> tuple[Size, ...]:
    shapes = [inputs[name].shape for inputs, _ in case.calls]
    return tuple(
        sizes[0] if len(set(sizes)) == 1 else f"{name}_{axis}" for axis, sizes in enumerate(zip(*shapes, strict=True))
    )


def run_interpreted(case: Recorded) -> Iterator[Pair]:
    """Pairs of expected and computed outputs, in numpy."""
    interpreter = Interpreter(case.binding, case.parameters.__getitem__)
    for inputs, outputs in case.calls:
        heads = [str(place) for place in range(len(outputs))]
        yield from zip(outputs, interpreter.run(inputs, heads).values(), strict=True)


def worst_error(expected: np.ndarray, got: np.ndarray) -> float:
    """The largest difference over the scale of the output; infinite where dtype, shape, integers or NaN differ."""
    if expected.dtype != got.dtype or expected.shape != got.shape:
        raise AssertionError(f"expected {expected.dtype}{expected.shape}, got {got.dtype}{got.shape}")
    if expected.dtype.kind != "f":
        return 0.0 if np.array_equal(expected, got) else float("inf")
    wide, wanted = got.astype(np.float64), expected.astype(np.float64)
    finite = np.isfinite(wanted) & (np.abs(wanted) < 1e38)
    if not np.array_equal(wide[~finite].astype(np.float32), wanted[~finite].astype(np.float32), equal_nan=True):
        return float("inf")
    scale = np.abs(wanted[finite]).max(initial=0) or 1.0
    return float(np.abs(wide - wanted)[finite].max(initial=0) / scale)
