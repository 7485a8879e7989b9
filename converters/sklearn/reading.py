"""Reading a scikit-learn source: skops files, and pickles (joblib's included) where they are trusted.

Which types a skops file may name is `skops_types.py`'s to say. Nothing is unpickled here without trust.
"""

from __future__ import annotations

import bz2
import lzma
import pickletools
import sys
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from converters.headers import is_pickle, is_torch_pickle, read_head, zip_members
from converters.sklearn.estimators import vet_trees
from converters.sklearn.skops_types import vet_types
from model_store.errors import SourceError, TrustRequired, named_line

SKOPS_FILE = "model.skops"
PICKLE_FILE = "model.joblib"
HEAD_BYTES = 1 << 18
"""How much of a pickle is looked into: what it is an object of stands at its beginning."""
OWN_LIBRARIES = ("sklearn", "xgboost", "lightgbm", "catboost", "imblearn", "pandas")
FOREIGN_LIBRARIES = ("torch", "tensorflow", "keras", "tf_keras", "mxnet")
OTHERS = {
    "xgboost.core.Booster": "its own save_model('model.ubj')",
    "lightgbm.basic.Booster": "its own save_model('model.txt')",
    "catboost.core.CatBoost": "its own save_model('model.cbm')",
}
"""Models that are no estimators of scikit-learn's kind, and how they are saved."""
_TORCH_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9"
"""What PyTorch's old `torch.save` writes in front, as a pickle of its own."""
_LZ4_MAGIC = b"\x04\x22\x4d\x18"


def is_skops(source: Path) -> bool:
    """Whether the source is a zip archive with skops's `schema.json` at its top."""
    return "schema.json" in zip_members(source)


def is_estimator_pickle(source: Path) -> bool:
    """Whether the source is a pickle, plain or compressed by joblib, that names no other framework before it names
    one of scikit-learn's. Classes of the user's own count, as transformers often are. Loads nothing."""
    if not source.is_file() or is_torch_pickle(source):
        return False
    if read_head(source, len(_LZ4_MAGIC)) == _LZ4_MAGIC:  # joblib's alone among what is served; no lz4 in Python itself
        return True
    head = _uncompressed(read_head(source, HEAD_BYTES))
    if head.startswith(_TORCH_MAGIC):
        return False
    if not (is_pickle(source) or (head[:1] == b"\x80" and head[1:2] <= b"\x05")):
        return False
    libraries = (name.partition(".")[0] for name in _early_texts(head))
    return next((name for name in libraries if name in OWN_LIBRARIES + FOREIGN_LIBRARIES), "") not in FOREIGN_LIBRARIES


def load_estimator(source: Path, *, trust: bool) -> Any:
    """The fitted estimator in the file, its trees vetted.

    Raises `TrustRequired` for a pickle without `trust`, and for a skops file with types that could run code;
    `SourceError` when the file can't be read or holds something else than one estimator.
    """
    loaded = _load_skops(source, trust) if is_skops(source) else _load_pickle(source, trust)
    if hint := OTHERS.get(f"{type(loaded).__module__}.{type(loaded).__name__}"):
        raise SourceError(f"source {source.name!r} holds {_kind(loaded)}; save it with {hint} and give that file")
    estimator = getattr(loaded, "best_estimator_", loaded)  # a search predicts with the best one alone
    if not any(hasattr(estimator, method) for method in ("predict", "transform")):
        raise SourceError(
            f"source {source.name!r} holds {_kind(loaded)}; expected one fitted estimator or pipeline with predict or "
            "transform: save that alone"
        )
    _refuse_unfitted(estimator, source)
    vet_trees(estimator)
    _keep_in_thread(estimator)
    return estimator


def _keep_in_thread(estimator: Any) -> None:
    """Keeps prediction in the calling thread, in place: a process pool for each request costs more than it gains."""
    try:
        parameters = estimator.get_params(deep=True)
    except Exception:  # other libraries' estimators need not be scikit-learn's in every way
        return
    jobs = {
        name: 1 for name, value in parameters.items() if name.split("__")[-1] == "n_jobs" and value not in (None, 1)
    }
    if jobs:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            estimator.set_params(**jobs)


def _load_skops(source: Path, trust: bool) -> Any:
    import skops.io

    try:
        trusted = vet_types(source, trust=trust)
        return skops.io.load(source, trusted=trusted)
    except SourceError:
        raise
    except Exception as error:  # a damaged file shows itself as nearly anything
        raise SourceError(f"source {source.name!r} can't be loaded by skops: {named_line(error)}") from error


def _load_pickle(source: Path, trust: bool) -> Any:
    import joblib

    if not trust:
        raise TrustRequired(
            f"source {source.name!r} is a pickle: loading it runs code that it carries; save the estimator with skops "
            "(skops.io.dump), or say `trust: true` for this model",
            source=source.name,
        )
    try:
        return joblib.load(source)
    except ModuleNotFoundError as error:
        raise SourceError(f"source {source.name!r} needs the module {error.name!r}{_advice(error.name)}") from error
    except AttributeError as error:
        raise SourceError(
            f"source {source.name!r} names a class or function that is not where it was ({named_line(error)}); what "
            "was defined in a script or notebook has to move into an importable module before the model is saved"
        ) from error
    except Exception as error:  # whatever the code of the pickle raises
        raise SourceError(f"source {source.name!r} can't be unpickled: {named_line(error)}") from error


def _advice(module: str | None) -> str:
    library = (module or "").partition(".")[0]
    if library in sys.modules and library in OWN_LIBRARIES:
        version = getattr(sys.modules[library], "__version__", "")
        return f", which {library} {version} here does not have: load it with the version that saved it, and save anew"
    return ", which can't be imported here: install it, or put the code of your own classes into an installed package"


def _refuse_unfitted(estimator: Any, source: Path) -> None:
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(estimator)
    except NotFittedError as error:
        raise SourceError(
            f"source {source.name!r}: {type(estimator).__name__} was saved before it was fitted"
        ) from error
    except (TypeError, AttributeError):  # other libraries' estimators need not be scikit-learn's in every way
        return


def _kind(loaded: Any) -> str:
    if isinstance(loaded, dict):
        keys = ", ".join(repr(key) for key in list(loaded)[:5])
        return f"a dict with the keys {keys or '(none)'}"
    if isinstance(loaded, list | tuple):
        kinds = ", ".join(type(each).__name__ for each in loaded[:5])
        return f"a {type(loaded).__name__} of {kinds or 'nothing'}"
    kind = type(loaded)
    return f"an object of type {kind.__module__}.{kind.__name__}"


def _uncompressed(head: bytes) -> bytes:
    """The first bytes of a pickle inside the compressions that joblib writes."""
    try:
        if head[:2] == b"\x1f\x8b":
            return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(head, HEAD_BYTES)
        if head[:1] == b"\x78":
            return zlib.decompressobj().decompress(head, HEAD_BYTES)
        if head[:3] == b"BZh":
            return bz2.BZ2Decompressor().decompress(head, HEAD_BYTES)
        if head[:6] == b"\xfd7zXZ\x00" or head[:2] == b"\x5d\x00":
            return lzma.LZMADecompressor().decompress(head, HEAD_BYTES)
    except (zlib.error, OSError, EOFError, ValueError, lzma.LZMAError):
        return b""
    return head


def _early_texts(pickled: bytes) -> Iterator[str]:
    """Names and texts at the beginning of a pickle, in order, until it ends or can't be followed."""
    try:
        for _, argument, _ in pickletools.genops(pickled):
            if isinstance(argument, str):
                yield argument
    except Exception:  # cut off in the middle; pickletools raises nearly anything then
        return
