"""Loads a Keras file with the Keras that reads it right: Keras 3, or tf_keras for what Keras 1 and 2 wrote.

Keras 3 refuses many files of Keras 2; tf_keras is Keras 2 as it was. Nothing is loaded before `vetting.py` has seen
the config.
"""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.base import ConversionOptions
from converters.keras.configs import KerasFile, read_keras_file
from converters.keras.custom_objects import import_custom_objects, with_registered_names
from converters.keras.recurrent import fused_layers
from converters.keras.theano import flip_kernels
from converters.keras.vetting import missing_classes, objects_of, vet_config
from converters.tensorflow.session import quiet
from model_store.errors import ConversionError, SourceError

UNKNOWN = (
    r"Unknown (?:layer|object|class|initializer|regularizer|constraint|\w+ function):? ['\"]?(?P<name>[\w>]+)",
    r"Could not (?:locate|find) (?:class|function|object) '(?P<name>[\w>.]+)'",
    r"Could not interpret \w+ (?:function )?identifier: (?P<name>\w+)",
)


@dataclass(frozen=True)
class LoadedModel:
    """A model, and the library whose object it is."""

    model: Any
    library: str
    """`keras` or `tf_keras`."""
    version: str


def load_model(source: Path, options: ConversionOptions, workdir: Path) -> LoadedModel:
    """Raises `TrustRequired` for code in the file, `SourceError` for a file that can't be read or needs classes that
    the config does not name, `ConfigError` for classes that can't be imported."""
    file = read_keras_file(source)
    if not options.trust:
        vet_config(file.config, source.name, tuple(options.custom_objects))
    import_keras()  # before the user's folder is on the path, which may hold a file of a library's name
    custom = import_custom_objects(options)
    custom = with_registered_names(custom, file.config)
    named = _with_suffix(source, file, workdir)
    if file.generation < 3 and _is_installed("tf_keras"):
        return _load_with_tf_keras(named, source, file, custom, options.trust)
    return _load_with_keras(named, source, file, custom, options.trust)


def _with_suffix(source: Path, file: KerasFile, workdir: Path) -> Path:
    """Keras goes by the file's name where we go by its content."""
    named = workdir / {"hdf5": "source.h5", "archive": "source.keras", "folder": "source"}[file.kind]
    if not named.is_symlink():
        named.symlink_to(source.resolve(), target_is_directory=source.is_dir())
    return named


def _load_with_keras(path: Path, source: Path, file: KerasFile, custom: Mapping[str, Any], trust: bool) -> LoadedModel:
    keras = import_keras()
    if file.kind == "hdf5":
        custom = {**_operations(keras, file.config), **custom}
    try:
        with quiet():
            model = keras.saving.load_model(path, custom_objects=dict(custom), compile=False, safe_mode=not trust)
    except Exception as error:  # Keras raises ValueError, TypeError, KeyError, h5py's errors
        raise _unreadable(source, file, f"Keras {keras.__version__}", error) from error
    if file.backend == "theano":
        flip_kernels(model)
    return LoadedModel(model, "keras", keras.__version__)


def _load_with_tf_keras(
    path: Path, source: Path, file: KerasFile, custom: Mapping[str, Any], trust: bool
) -> LoadedModel:
    """Layers that ran on GPUs alone become those that run anywhere; tf_keras turns their weights round by itself."""
    with quiet():
        import tf_keras

    custom = {"CuDNNLSTM": tf_keras.layers.LSTM, "CuDNNGRU": tf_keras.layers.GRU, **custom}
    safety = {} if file.kind == "hdf5" else {"safe_mode": not trust}
    try:
        # To learn their shapes tf_keras traces recurrent layers, which takes a second each as loops.
        with fused_layers(), quiet():
            model = tf_keras.models.load_model(path, custom_objects=dict(custom), compile=False, **safety)
    except Exception as error:  # as above
        raise _unreadable(source, file, f"tf_keras {tf_keras.__version__}", error) from error
    if file.backend == "theano":
        flip_kernels(model)
    return LoadedModel(model, "tf_keras", tf_keras.__version__)


def import_keras() -> Any:
    """Keras 3 on TensorFlow, whatever backend the user's own settings name; raises `ConversionError` where it already
    runs on another in this process."""
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = "tensorflow"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow's deprecations are not the user's
        import keras

    if keras.backend.backend() != "tensorflow":
        raise ConversionError(
            f"Keras runs on the backend {keras.backend.backend()!r}; set KERAS_BACKEND=tensorflow to convert"
        )
    return keras


def _operations(keras: Any, config: Any) -> dict[str, Any]:
    """Classes of `keras.ops` that an `.h5` file names as if they were layers, as that of a mask.

    Keras 3.15 writes such files and does not find the classes again; in `.keras` archives they have their modules.
    """
    names = {str(item["class_name"]) for item in objects_of(config)}
    homes = [getattr(keras.src.ops, home) for home in ("core", "image", "linalg", "math", "nn", "numpy")]
    unknown = [name for name in sorted(names) if not hasattr(keras.layers, name) and not hasattr(keras, name)]
    found = {name: getattr(home, name) for name in unknown for home in homes if hasattr(home, name)}
    return {name: each for name, each in found.items() if isinstance(each, type) and issubclass(each, keras.Operation)}


def _is_installed(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None


def _unreadable(source: Path, file: KerasFile, reader: str, error: Exception) -> SourceError:
    text = str(error).rpartition("Exception encountered: ")[2]  # Keras 3 tells every layer around it first
    for pattern in UNKNOWN:
        if found := re.search(pattern, text):
            name = found["name"].rpartition(">")[2].rpartition(".")[2]
            return missing_classes(source.name, {name: f"package.module:{name}"})
    if file.generation == 1:
        return SourceError(
            f"source {source.name!r} was written by Keras 1, whose layers {reader} does not know; "
            "load it with Keras 2.2 and save it anew"
        )
    line = next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)
    hint = (
        "" if file.generation > 2 or reader.startswith("tf_keras") else "; pip install tf_keras reads more of Keras 2"
    )
    return SourceError(f"source {source.name!r} can't be loaded by {reader}: {line[:300]}{hint}")
