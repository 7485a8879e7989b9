"""SavedModel folders: reading and vetting their program, then loading it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from converters.tensorflow.session import GraphSession, open_saved_model
from converters.tensorflow.signatures import read_signatures
from converters.tensorflow.source import LOADED_PARTS, PROGRAM
from converters.tensorflow.vetting import vet_meta_graph
from model_store.errors import SourceError

SERVING_TAG = "serve"


def load_saved_model(folder: Path, source: str, *, trust: bool, threads: int = 0) -> GraphSession:
    """The SavedModel in `folder` with all its signatures; `source` is its name in messages.

    Nothing of it runs before it is vetted. Raises what `vetting.py` and `signatures.py` raise, and `SourceError` for
    files that can't be read.
    """
    meta_graph = _serving_meta_graph(_read_program(folder, source), source)
    vet_meta_graph(meta_graph, source, trust=trust)
    signatures = read_signatures(meta_graph, source)
    return open_saved_model(folder, list(meta_graph.meta_info_def.tags), signatures, threads=threads)


def _read_program(folder: Path, source: str) -> Any:
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    program = saved_model_pb2.SavedModel()
    try:
        program.ParseFromString((folder / PROGRAM).read_bytes())
    except (DecodeError, OSError) as error:
        raise SourceError(f"source {source!r}: {PROGRAM} is cut off or damaged: {error}") from error
    return program


def _serving_meta_graph(program: Any, source: str) -> Any:
    """The graph tagged 'serve', or the only one there is."""
    graphs = list(program.meta_graphs)
    tagged = [each for each in graphs if SERVING_TAG in each.meta_info_def.tags]
    exact = [each for each in tagged if list(each.meta_info_def.tags) == [SERVING_TAG]]
    chosen = exact[:1] or tagged[:1] or (graphs if len(graphs) == 1 else [])
    if not chosen:
        tags = "; ".join("+".join(each.meta_info_def.tags) or "no tag" for each in graphs) or "nothing"
        raise SourceError(f"source {source!r}: expected a graph with the tag {SERVING_TAG!r}, found {tags}")
    return chosen[0]


def copy_saved_model(folder: Path, target: Path) -> Path:
    """Copies what TensorFlow loads, and leaves what training tools put beside it."""
    target.mkdir(parents=True)
    shutil.copyfile(folder / PROGRAM, target / PROGRAM)
    for name in LOADED_PARTS:
        if (folder / name).is_dir():
            shutil.copytree(folder / name, target / name)
    return target
