"""What a TFLite file holds, read as data: operators that are not its own, signatures, subgraphs.

The format is a flatbuffer, described in `tensorflow/lite/schema/schema.fbs`; running one is `tflite.py`'s.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from model_store.errors import ConversionError, SourceError

BORROWED = "Flex"
"""Prefix of the operators that a file borrows from TensorFlow (`SELECT_TF_OPS`)."""
KNOWN_CUSTOM = frozenset({"TFLite_Detection_PostProcess", "AudioSpectrogram", "Mfcc", "NumericVerify"})
"""Custom operators that TensorFlow's interpreter brings along."""
SUBGRAPH_FIELDS = (
    "thenSubgraphIndex", "elseSubgraphIndex", "condSubgraphIndex", "bodySubgraphIndex", "initSubgraphIndex", "subgraph",
)  # fmt: skip


def read_tflite(path: Path, source: str) -> Any:
    """The file as an object of the schema (`ModelT`).

    Raises `SourceError` when it is damaged, `ConversionError` naming operators that nothing here can run.
    """
    from tensorflow.lite.tools.flatbuffer_utils import read_model_from_bytearray

    try:
        model = read_model_from_bytearray(bytearray(path.read_bytes()))
        custom = {code.customCode.decode() for code in model.operatorCodes if code.customCode}
    except Exception as error:  # struct.error, IndexError, UnicodeDecodeError: whatever cut-off bytes lead to
        raise SourceError(f"source {source!r} is cut off or damaged: {type(error).__name__}: {error}") from error
    borrowed = sorted(name.removeprefix(BORROWED) for name in custom if name.startswith(BORROWED))
    if borrowed:
        raise ConversionError(
            f"source {source!r} borrows {', '.join(borrowed)} from TensorFlow (SELECT_TF_OPS), which its interpreter "
            "does not run outside of apps; give the SavedModel that the file was converted from",
            operators=borrowed,
        )
    unknown = sorted(custom - KNOWN_CUSTOM)
    if unknown:
        raise ConversionError(
            f"source {source!r} uses the custom operators {', '.join(unknown)}, whose code is not in the file; "
            "export it with TFLite's own operators",
            operators=unknown,
        )
    return model


def with_main_subgraph(model: Any, index: int) -> bytes:
    """The file with subgraph `index` as its main one (the first), and only those subgraphs that it calls.

    tf2onnx 1.17 converts the main subgraph alone; `model` is changed.
    """
    from tensorflow.lite.tools.flatbuffer_utils import convert_object_to_bytearray

    kept = _called(model, index)
    places = {old: new for new, old in enumerate(kept)}
    model.subgraphs = [model.subgraphs[old] for old in kept]
    for subgraph in model.subgraphs:
        for operator in subgraph.operators or ():
            for name in _subgraph_fields(operator):
                setattr(operator.builtinOptions, name, places[getattr(operator.builtinOptions, name)])
    model.signatureDefs = []
    return bytes(convert_object_to_bytearray(model))


def _called(model: Any, index: int) -> list[int]:
    found, waiting = [], [index]
    while waiting:
        current = waiting.pop(0)
        if current in found:
            continue
        found.append(current)
        for operator in model.subgraphs[current].operators or ():
            waiting += [getattr(operator.builtinOptions, name) for name in _subgraph_fields(operator)]
    return found


def _subgraph_fields(operator: Any) -> list[str]:
    options = operator.builtinOptions
    return [name for name in SUBGRAPH_FIELDS if isinstance(getattr(options, name, None), int)]
