"""What both forms of TensorFlow Serving say of models: versions, states, signatures, and what is not there.

Versions are whole numbers in the protocol. Where a config calls one by other text, the digits that it begins with are
told, or 0; such a version is called by its label, or by traffic.
"""

from __future__ import annotations

import re
from typing import Any

from model_store.errors import InvalidInput, ModelNotFound, OnegateError
from model_store.manifest import Manifest, TensorSpec
from serve.dialects.tensorflow_tensors import number_of
from serve.operations import ModelList
from serve.protocols.tensorflow_serving import GetModelStatusResponse, SignatureDefMap

LARGEST_VERSION = 2**63 - 1
PREDICT_METHOD = "tensorflow/serving/predict"

_STATES = {
    "CONVERTING": "START",
    "LOADING": "LOADING",
    "READY": "AVAILABLE",
    "IDLE": "AVAILABLE",  # a call brings it back
    "DRAINING": "UNLOADING",
}
"""States of a version's life; the others have come to their END."""
_LEADING_DIGITS = re.compile(r"[0-9]*")
_UNKNOWN_CODE = 2


def version_number(version: str) -> int:
    """A version as the protocol's int64."""
    digits = _LEADING_DIGITS.match(version)[0]  # type: ignore[index]  # it matches nothing too
    return min(int(digits[:19] or "0"), LARGEST_VERSION)


def status_message(answer: ModelList) -> Any:
    """The `GetModelStatusResponse`, newest version first as TensorFlow Serving has them."""
    message = GetModelStatusResponse()
    for model in answer.models:
        for version in reversed(model.versions):
            entry = message.model_version_status.add(
                version=version_number(version.version), state=_STATES.get(version.state, "END")
            )
            entry.status.SetInParent()
            if version.state == "FAILED":
                entry.status.error_code = _UNKNOWN_CODE
                entry.status.error_message = version.reason or ""
    return message


def signature_map(manifest: Manifest) -> Any:
    """The `SignatureDefMap` of a version: names, types and shapes of all its signatures."""
    message = SignatureDefMap()
    for name, signature in manifest.signatures.items():
        entry = message.signature_def[name]
        entry.method_name = PREDICT_METHOD
        for spec in signature.inputs:
            _write_info(spec, entry.inputs[spec.name])
        for spec in signature.outputs:
            _write_info(spec, entry.outputs[spec.name])
    return message


def not_there(error: ModelNotFound, model: str, version: str | None) -> OnegateError:
    """What a call of what is not found is told: a label and a signature are wrong input in this protocol."""
    if "label" in error.details:
        return InvalidInput(f"Unrecognized servable version label: {error.details['label']}")
    if "signature" in error.details:
        return InvalidInput(error.message)
    request = f"Latest({model})" if version is None else f"Specific({model}, {version})"
    return ModelNotFound(f"Servable not found for request: {request}")


def no_status(error: ModelNotFound, model: str, version: str | None) -> OnegateError:
    """What a question for the status of what is not found is told."""
    if version is None:
        return ModelNotFound(f"Could not find any versions of model {model}")
    return ModelNotFound(f"Could not find version {version} of model {model}")


def _write_info(spec: TensorSpec, info: Any) -> None:
    info.name = spec.name
    info.dtype = number_of(spec.datatype)
    info.tensor_shape.SetInParent()
    for size in spec.shape:
        info.tensor_shape.dim.add(size=size)
