"""The files of a proven version: all that lies beside its main file, and graphs that are optimised already.

A replica starts faster from an optimised graph, so it is saved once; it is kept only where it answers as the plain one.
"""

from __future__ import annotations

from pathlib import Path

from converters.base import Conversion
from converters.graph import open_session, runner
from converters.independence import first_difference
from converters.optimising import save_optimised
from converters.parity import EDGE_BATCH
from converters.samples import Samples, batch_near
from model_store.errors import ConversionError


def optimise_version(conversion: Conversion, samples: Samples) -> dict[str, str]:
    """Saves the optimised graph beside the default signature's one: file of the graph -> file of the optimised one.

    Empty where nothing is gained, the optimised graph does not load, or it answers differently.
    """
    model = conversion.model
    saved = save_optimised(model, model.parent)
    if saved is None:
        return {}
    if _answers_equally(model, saved, conversion, samples):
        return {model.name: saved.name}
    for path in model.parent.glob(f"{saved.name}*"):
        path.unlink()
    return {}


def _answers_equally(plain: Path, optimised: Path, conversion: Conversion, samples: Samples) -> bool:
    inputs = samples.draw(batch_near(conversion, EDGE_BATCH), 0)
    try:
        expected, got = (runner(open_session(model))(inputs) for model in (plain, optimised))
    except ConversionError:
        return False
    return first_difference(expected, got) is None


def files_below(folder: Path) -> dict[str, str]:
    """Name in the version -> path, of all files in a version's folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): str(path) for path in files}
