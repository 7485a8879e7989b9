"""tf2onnx, asked so that it tells what it could not do.

tf2onnx 1.17 logs what goes wrong and may report success with operators of TensorFlow left in the graph. Here the log
is heard, the graph is looked through, and the reason becomes one line. Whether the numbers are right is the gate's.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from converters.tensorflow import operators
from converters.tensorflow.freezing import FrozenGraph
from converters.tensorflow.operators.text import ML_DOMAIN, ML_OPSET
from converters.tensorflow.public_names import name_publicly
from converters.tensorflow.session import one_line, quiet
from converters.tensorflow.signatures import GraphSignature
from model_store.errors import ConversionError

OPSET = 18
"""The newest that tf2onnx 1.17 writes."""
DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})


def export_graph(frozen: FrozenGraph, wanted: GraphSignature) -> Any:
    """The ONNX model of one signature, with its public names.

    Raises `ConversionError` that names what tf2onnx does not convert.
    """
    import tensorflow
    import tf2onnx.convert

    register()
    with _listening() as problems, quiet(), tensorflow.device("/cpu:0"):
        try:
            model, _ = tf2onnx.convert._convert_common(
                frozen.graph_def,
                name=wanted.name,
                continue_on_error=True,
                opset=OPSET,
                extra_opset=[tf2onnx.utils.make_opsetid(ML_DOMAIN, ML_OPSET)],
                input_names=_distinct(wanted.inputs.values()),
                output_names=_distinct(wanted.outputs.values()),
                optimizers=_optimizers(),
                initialized_tables=frozen.tables,
            )
        except Exception as error:
            raise ConversionError(_reason(problems, error)) from error
    refuse_leftovers(model, problems)
    name_publicly(model, wanted)
    return model


def export_tflite(path: Path, wanted: GraphSignature) -> Any:
    """The same for the main subgraph of a TFLite file, whose tensors `wanted` names."""
    import tensorflow
    import tf2onnx.convert

    register()
    with _listening() as problems, quiet(), tensorflow.device("/cpu:0"):
        try:
            model, _ = tf2onnx.convert._convert_common(
                None,
                tflite_path=str(path),
                name=wanted.name,
                continue_on_error=True,
                opset=OPSET,
                output_names=_distinct(wanted.outputs.values()),
                optimizers=_optimizers(),
            )
        except Exception as error:
            raise ConversionError(_reason(problems, error)) from error
    refuse_leftovers(model, problems)
    name_publicly(model, wanted)
    return model


def _optimizers() -> Any:
    """tf2onnx's own, but for the one that takes `Einsum` apart: it tries for seconds what ONNX Runtime does itself."""
    from tf2onnx import optimizer

    return {name: make for name, make in optimizer._get_optimizers().items() if "einsum" not in name}


def _distinct(tensors: Iterable[str]) -> list[str]:
    """One value may be given out under two names."""
    return list(dict.fromkeys(tensors))


def register() -> None:
    """Makes tf2onnx 1.17 run with numpy 2, by the patch that Keras keeps, and adds the operators of this package."""
    import keras

    keras.src.export.tf2onnx_lib.patch_tf2onnx()
    operators.register()


def refuse_leftovers(model: Any, problems: Sequence[str]) -> None:
    """Raises `ConversionError` that counts the operators which ONNX does not have."""
    import onnx

    left = Counter(
        node.op_type
        for node in _nodes(model.graph)
        if node.domain not in DOMAINS or not onnx.defs.has(node.op_type, node.domain)
    )
    if left:
        names = ", ".join(f"{name} ({count})" if count > 1 else name for name, count in sorted(left.items()))
        why = f"; {problems[0]}" if problems else ""
        raise ConversionError(
            f"tf2onnx leaves operators of TensorFlow in the graph: {names}{why}", operators=dict(left)
        )
    if problems:
        raise ConversionError(f"tf2onnx fails to convert the graph: {problems[0]}")


def _nodes(graph: Any) -> Iterator[Any]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                yield from _nodes(inner)


def _reason(problems: Sequence[str], error: Exception) -> str:
    return f"tf2onnx fails to convert the graph: {problems[0] if problems else one_line(error)}"


@contextlib.contextmanager
def _listening() -> Iterator[list[str]]:
    """Collects what tf2onnx logs as failed, one line each, in place of its printing it."""
    problems: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if text := _problem(record):
                problems.append(text)

    logger = logging.getLogger("tf2onnx")
    before = logger.handlers[:], logger.propagate, logger.level
    logger.handlers[:], logger.propagate = [Ear(logging.ERROR)], False
    logger.setLevel(logging.ERROR)
    try:
        yield problems
    finally:
        logger.handlers[:], logger.propagate = before[:2]
        logger.setLevel(before[2])


def _problem(record: logging.LogRecord) -> str | None:
    if record.exc_info and record.exc_info[1]:
        node = re.search(r"node '?([^'\s]+)'?", record.getMessage())
        where = f"operator {node[1]!r}: " if node else ""
        return f"{where}{type(record.exc_info[1]).__name__}: {one_line(record.exc_info[1])}"
    text = record.getMessage().splitlines()[0]
    # Operators without a handler are counted in the finished graph, where those that went away do not show.
    return None if "not supported" in text or text.startswith("Unsupported ops") else text[:300]
