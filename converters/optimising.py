"""Graph optimisation that is done once, at conversion, so that a replica does not repeat it at each start.

ONNX Runtime's `EXTENDED` level is saved: constants folded, operators fused. The level above lays weights out for the
processor at hand, so it is left to the replica, which does it while loading. The file belongs to the release of ONNX
Runtime that wrote it.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import onnx
import onnxruntime

from converters.graph import LARGEST_INLINE_BYTES, open_session, session_options
from model_store.errors import ConversionError

LEAST_GAIN_MS = 5.0
"""Of loading; what gains less is not worth a second copy of the weights."""
LEAST_GAIN = 0.2
"""Share of the loading time that has to go."""
LOADS = 3


def save_optimised(model: Path, folder: Path) -> Path | None:
    """Writes `<stem>.cpu.onnx` into `folder`, which may be the model's own: the graph as ONNX Runtime's CPU provider
    optimises it, with weights beyond 1 GiB in `<stem>.cpu.onnx.data`.

    None, and no file, when it does not load faster by enough to keep it, or does not load at all.
    """
    target = folder / f"{model.stem}.cpu.onnx"
    try:
        write_optimised(model, target, onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED)
        if _nodes(target) == _nodes(model):
            _remove(target)
            return None
        plain, optimised = compare_loading(model, target)
    except Exception:  # ONNX Runtime's errors have no base of their own; the plain graph serves as well
        _remove(target)
        return None
    gain = plain - optimised
    if gain < LEAST_GAIN_MS or gain < LEAST_GAIN * plain:
        _remove(target)
        return None
    return target


def compare_loading(model: Path, optimised: Path) -> tuple[float, float]:
    """Milliseconds that ONNX Runtime takes to load each of two files, all optimisation included: the best of a few
    loads in turns, as whatever else the machine does only adds."""
    rounds = [(_load_ms(model), _load_ms(optimised)) for _ in range(LOADS)]
    return min(one for one, _ in rounds), min(other for _, other in rounds)


def _load_ms(model: Path) -> float:
    start = time.perf_counter()
    open_session(model)
    return (time.perf_counter() - start) * 1000


def write_optimised(model: Path, target: Path, level: onnxruntime.GraphOptimizationLevel) -> None:
    """Writes the graph as ONNX Runtime's CPU provider optimises it up to `level` (`ORT_ENABLE_BASIC` keeps to ONNX's
    own operators), with weights beyond 1 GiB beside it. Raises what ONNX Runtime raises."""
    options = session_options()
    options.graph_optimization_level = level
    options.optimized_model_filepath = str(target)
    if _size(model) > LARGEST_INLINE_BYTES:
        data = f"{target.name}.data"
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", data)
        options.add_session_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", "1024")
    onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    if not target.is_file():
        raise ConversionError("ONNX Runtime wrote no optimised model")


def _nodes(model: Path) -> int:
    return len(onnx.load(model, load_external_data=False).graph.node)


def _size(model: Path) -> int:
    return sum(path.stat().st_size for path in model.parent.glob(f"{model.name}*"))


def _remove(target: Path) -> None:
    for path in (target, target.with_name(f"{target.name}.data")):
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
