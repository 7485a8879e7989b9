"""A loaded TensorFlow graph: SavedModels of TensorFlow 1 and 2 and frozen graphs alike, in one session.

A session runs both generations of SavedModels as TensorFlow Serving does, from any thread, and leaves TensorFlow's
global settings alone. What may be loaded is decided by `vetting.py` before.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from converters.base import Arrays
from converters.tensorflow.signatures import GraphSignature
from model_store.errors import SourceError


class GraphSession:
    """A graph with its variables and tables, ready to be called by signature."""

    def __init__(self, session: Any, signatures: Mapping[str, GraphSignature]) -> None:
        self.session = session
        self.signatures = signatures
        graph = session.graph
        self._feeds = {
            name: {key: graph.get_tensor_by_name(tensor) for key, tensor in each.inputs.items()}
            for name, each in signatures.items()
        }
        self._fetches = {
            name: [graph.get_tensor_by_name(tensor) for tensor in each.outputs.values()]
            for name, each in signatures.items()
        }

    def run(self, inputs: Arrays, signature: str) -> dict[str, np.ndarray]:
        """All outputs of one batch; BYTES are object arrays of `bytes`. Raises `RuntimeError` in one line."""
        import tensorflow

        feeds = self._feeds[signature]
        try:
            values = self.session.run(self._fetches[signature], {feeds[name]: array for name, array in inputs.items()})
        except tensorflow.errors.OpError as error:
            raise RuntimeError(f"TensorFlow: {one_line(error)}") from None
        return {name: _array(value) for name, value in zip(self.signatures[signature].outputs, values, strict=True)}


def _array(value: Any) -> np.ndarray:
    return np.asarray(value, dtype=object) if isinstance(value, (bytes, str)) else np.asarray(value)


def open_saved_model(
    folder: Path, tags: Sequence[str], signatures: Mapping[str, GraphSignature], *, threads: int = 0
) -> GraphSession:
    """Loads variables and assets, and initialises tables. Raises `SourceError` when TensorFlow can't."""
    import tensorflow

    session = _session(threads)
    try:
        with session.graph.as_default(), quiet():
            tensorflow.compat.v1.saved_model.loader.load(session, list(tags), str(folder))
    except Exception as error:  # OpError, OSError, ValueError, KeyError: whatever is wrong with the files
        raise SourceError(
            f"the SavedModel can't be loaded by TensorFlow {tensorflow.__version__}: {one_line(error)}"
        ) from error
    return GraphSession(session, signatures)


def open_graph(graph_def: Any, signatures: Mapping[str, GraphSignature], *, threads: int = 0) -> GraphSession:
    """A graph whose weights are constants. Raises `SourceError` when TensorFlow does not accept it."""
    import tensorflow

    session = _session(threads)
    try:
        with session.graph.as_default(), quiet():
            tensorflow.compat.v1.import_graph_def(graph_def, name="")
        return GraphSession(session, signatures)
    except Exception as error:  # ValueError, KeyError, OpError
        raise SourceError(
            f"the graph can't be loaded by TensorFlow {tensorflow.__version__}: {one_line(error)}"
        ) from error


def _session(threads: int) -> Any:
    """With threads of its own between operators; those within one are the process's, as the first session set them."""
    import tensorflow

    config = tensorflow.compat.v1.ConfigProto(
        intra_op_parallelism_threads=threads,
        inter_op_parallelism_threads=threads,
        use_per_session_threads=threads > 0,
        allow_soft_placement=True,
    )
    config.gpu_options.allow_growth = True  # the card may be shared
    return tensorflow.compat.v1.Session(graph=tensorflow.Graph(), config=config)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """TensorFlow's deprecations are not the user's."""
    import tensorflow

    logger = tensorflow.get_logger()
    level = logger.level
    logger.setLevel("ERROR")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def one_line(error: BaseException) -> str:
    """What an error of TensorFlow says, without its frame of counts and traces."""
    noise = ("Graph execution error", "Detected at node", "Node:", "Original stack trace", "Traceback", "File ")
    lines = [line.strip() for line in str(error).splitlines()]
    lines = [line.removeprefix("(0) ") for line in lines if line and not line.startswith(noise)]
    lines = [line for line in lines if not line.endswith("root error(s) found.") and "stack trace" not in line]
    return lines[0][:300] if lines else type(error).__name__
