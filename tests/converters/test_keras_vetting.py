"""What a Keras file may hold: read as data, before any Keras is imported."""

import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from converters.base import detect
from converters.keras.configs import read_keras_file
from converters.keras.vetting import vet_config
from model_store.errors import SourceError, TrustRequired


def layer(name: str, module: str | None = "keras.layers", **config: Any) -> dict[str, Any]:
    return {"class_name": name, "module": module, "config": {"name": "mine", **config}}


def vet(*layers: dict[str, Any], custom: tuple[str, ...] = ()) -> None:
    vet_config({"config": {"layers": list(layers)}}, "m.keras", custom)


def archive(path: Path, config: str) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("config.json", config)
        file.writestr("model.weights.h5", b"")
    return path


def hdf5(path: Path, **attributes: str) -> h5py.File:
    file = h5py.File(path, "w")
    for name, value in attributes.items():
        file.attrs[name] = value
    return file


@pytest.mark.parametrize("name", ["Lambda", "TFSMLayer", "__lambda__", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"])
def test_code_is_found_wherever_it_is_nested(name: str) -> None:
    with pytest.raises(TrustRequired, match=f"layer 'mine' is a {name}, which carries code; .* `trust: true`"):
        vet(layer("TimeDistributed", layer=layer("Bidirectional", layer=layer(name))))


def test_a_lambda_layer_of_keras_2_is_code_whatever_it_says_of_its_function() -> None:
    with pytest.raises(TrustRequired, match="layer 'mine' is a Lambda"):
        vet(layer("Lambda", None, function=["4wEA", None, None], function_type="lambda"))
    with pytest.raises(TrustRequired, match="layer 'mine' is a Lambda"):
        vet(layer("Lambda", None, function="f", function_type="function", output_shape_type="lambda"))


@pytest.mark.parametrize(
    "config",
    [
        {"function": {"class_name": "function", "module": "builtins", "config": "double"}},
        {"function": "double", "function_type": "function"},
    ],
)
def test_a_lambda_layer_that_names_a_function_needs_that_function(config: dict[str, Any]) -> None:
    with pytest.raises(SourceError, match=r'custom_objects: \{double: "package\.module:double"\}'):
        vet(layer("Lambda", **config))
    vet(layer("Lambda", **config), custom=("double",))


def test_classes_from_elsewhere_are_told_with_what_to_write() -> None:
    expected = (
        r"'m\.keras' needs Scale, Gate, Mix, whose code is not in the file; name it in the config as "
        r'`custom_objects: \{Scale: "my\.layers:Scale", Gate: "package\.module:Gate", Mix: "package\.module:Mix"\}`'
    )
    registered = {**layer("Mix", None), "registered_name": "mine>Mix"}
    with pytest.raises(SourceError, match=expected):
        vet(registered, layer("Gate", "__main__"), layer("Scale", "my.layers"))
    vet(registered, layer("Gate", "__main__"), layer("Scale", "my.layers"), custom=("Mix", "Gate", "Scale"))
    vet(registered, custom=("mine>Mix",))


@pytest.mark.parametrize(
    "module",
    [
        "keras.layers", "keras.src.models.functional", "keras.src.engine.sequential", "keras.engine.functional",
        "tf_keras.src.engine.functional", "keras.initializers", "keras.src.ops.numpy", "keras", "keras.dtype_policies",
    ],
)  # fmt: skip
def test_modules_that_models_are_made_of_pass(module: str) -> None:
    vet(layer("Any", module))


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("keras.utils", "get_file"), ("keras.src.utils.file_utils", "get_file"), ("keras.saving", "load_model"),
        ("builtins", "exec"), ("os", "system"), ("keras.layers_of_mine", "Dense"), ("tensorflow.io", "write_file"),
    ],
)  # fmt: skip
def test_modules_that_do_more_do_not_pass(module: str, name: str) -> None:
    with pytest.raises(SourceError, match=f"needs {name}, whose code is not in the file"):
        vet(layer(name, module))


def test_a_function_of_python_s_own_is_no_activation() -> None:
    def activation(name: str) -> dict[str, Any]:
        return {"class_name": "function", "module": "builtins", "config": name, "registered_name": "function"}

    vet(layer("Dense", activation=activation("bent")))
    with pytest.raises(SourceError, match="needs exec, whose code is not in the file"):
        vet(layer("Dense", activation=activation("exec")))


@pytest.mark.parametrize(
    "symbol", ["math.multiply", "nn.relu", "__operators__.getitem", "reshape", "compat.v1.transpose", "reduce_sum"]
)
def test_functions_of_tensorflow_that_compute_pass(symbol: str) -> None:
    vet(layer("TFOpLambda", None, function=symbol), layer("SlicingOpLambda", None, function=symbol))


@pytest.mark.parametrize("symbol", ["io.write_file", "io.read_file", "py_function", "print", "load_op_library", None])
def test_functions_of_tensorflow_that_reach_out_do_not_pass(symbol: str | None) -> None:
    with pytest.raises(TrustRequired, match=f"layer 'mine' calls the function {symbol!r} of TensorFlow"):
        vet(layer("TFOpLambda", None, function=symbol))


def test_a_vocabulary_is_no_file_of_this_machine() -> None:
    vet(layer("StringLookup", vocabulary=["a", "b"]))
    with pytest.raises(TrustRequired, match="layer 'mine' reads the file '/etc/passwd'; adapt"):
        vet(layer("StringLookup", vocabulary="/etc/passwd"))


@pytest.mark.parametrize("config", ["{", '{"a":' * 100_000])
def test_a_damaged_config_is_told(tmp_path: Path, config: str) -> None:
    with pytest.raises(SourceError, match=r"'m\.keras' is cut off or damaged"):
        read_keras_file(archive(tmp_path / "m.keras", config))


def test_an_archive_tells_its_version_and_passes(quickstart: Path) -> None:
    file = read_keras_file(quickstart / "digits.keras")
    assert (file.kind, file.generation, file.backend) == ("archive", 3, None)
    vet_config(file.config, "digits.keras")


def test_hdf5_tells_version_and_backend(tmp_path: Path) -> None:
    config = json.dumps({"class_name": "Sequential", "config": []})
    with hdf5(tmp_path / "m.h5", model_config=config, keras_version="2.1.6", backend="theano"):
        pass
    assert detect(tmp_path / "m.h5").framework == "keras"
    file = read_keras_file(tmp_path / "m.h5")
    assert (file.kind, file.keras_version, file.generation, file.backend) == ("hdf5", "2.1.6", 2, "theano")


@pytest.mark.parametrize("group", ["layers", "_layer_checkpoint_dependencies", "model_weights"])
def test_weights_alone_are_told_from_a_model(tmp_path: Path, group: str) -> None:
    with hdf5(tmp_path / "w.h5") as file:
        file.create_group(group)
    with pytest.raises(SourceError, match=r"'w\.h5' holds weights only, .* model\.save\('model\.keras'\)"):
        read_keras_file(tmp_path / "w.h5")


def test_an_hdf5_file_of_something_else_is_told(tmp_path: Path) -> None:
    with hdf5(tmp_path / "d.h5") as file:
        file["images"] = np.zeros(3)
    with pytest.raises(SourceError, match="an HDF5 file of images; expected a Keras model"):
        read_keras_file(tmp_path / "d.h5")


def test_a_cut_off_hdf5_file_is_told(tmp_path: Path) -> None:
    with hdf5(tmp_path / "m.h5", model_config="{}") as file:
        file["a"] = np.zeros(10_000)
    whole = (tmp_path / "m.h5").read_bytes()
    (tmp_path / "m.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match="is cut off or damaged"):
        read_keras_file(tmp_path / "m.h5")


def test_data_in_other_files_is_refused(tmp_path: Path) -> None:
    with hdf5(tmp_path / "link.h5", model_config="{}") as file:
        file["weights"] = h5py.ExternalLink("/etc/other.h5", "/x")
    with pytest.raises(SourceError, match="member 'weights' points into another file"):
        read_keras_file(tmp_path / "link.h5")
    with hdf5(tmp_path / "raw.h5", model_config="{}") as file:
        file.create_dataset("kernel", (4,), dtype="f4", external=[("/etc/passwd", 0, 16)])
    with pytest.raises(SourceError, match="data of its member 'kernel' lies in another file"):
        read_keras_file(tmp_path / "raw.h5")


def test_groups_that_hold_themselves_end(tmp_path: Path) -> None:
    with hdf5(tmp_path / "m.h5", model_config='{"class_name": "Model"}') as file:
        group = file.create_group("model_weights")
        group["again"] = group
    assert read_keras_file(tmp_path / "m.h5").generation == 1
