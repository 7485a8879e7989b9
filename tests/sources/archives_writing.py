"""Archives as MXNet Model Server and TorchServe write them, from files in memory."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

Files = dict[str, bytes | str | dict[str, Any]]
"""Name -> content; a dict is written as JSON."""

IMAGE_SIGNATURE = {
    "inputs": [{"data_name": "data", "data_shape": [0, 3, 8, 8]}],
    "input_type": "image/jpeg",
    "output_type": "application/json",
}

VISION_SERVICE = '''"""A vision service, as MMS's template has it."""
import logging
from mxnet_model_service import MXNetModelService
from mxnet_utils import image, ndarray

class MXNetVisionService(MXNetModelService):
    """Decodes, resizes, and answers with the likeliest classes."""

    def preprocess(self, request):
        images = []
        name = self.signature['inputs'][0]['data_name']
        for row in request:
            picture = row.get(name) or row.get("body")
            if picture is None or len(picture) == 0:
                self.error = "Empty image"
                return None
            [h, w] = self.signature['inputs'][0]['data_shape'][2:]
            try:
                decoded = image.read(picture)
            except Exception as error:
                logging.warn(error, exc_info=True)
                return None
            decoded = image.resize(decoded, w, h)
            images.append(image.transform_shape(decoded))
        return images

    def postprocess(self, data):
        if self.error is not None:
            return [self.error] * self._batch_size
        return [ndarray.top_probability(row, self.labels, top=5) for row in data]

_service = MXNetVisionService()

def handle(data, context):
    if not _service.initialized:
        _service.initialize(context)
    if data is None:
        return None
    return _service.handle(data, context)
'''


def mms(handler: str = "mxnet_vision_service:handle", **model: Any) -> Files:
    """The manifest of an MMS archive of the model `net`, as a file."""
    named = {"modelName": "net", "modelVersion": "1.0", "handler": handler, **model}
    engine = {"engineName": "MXNet", "engineVersion": "1.9.1"}
    content = {"specificationVersion": "1.0", "runtime": "python", "engine": engine, "model": named}
    return {"MAR-INF/MANIFEST.json": content}


def torchserve(handler: str = "image_classifier", **model: Any) -> Files:
    """The manifest of a TorchServe archive of the model `net`, as a file."""
    named = {"modelName": "net", "modelVersion": "1.0", "handler": handler, **model}
    content = {"createdOn": "01/02/2023 04:05:06", "runtime": "python", "archiverVersion": "0.12.0", "model": named}
    return {"MAR-INF/MANIFEST.json": content}


def model_server_04(**model: Any) -> Files:
    """The manifest of a `.model` of MMS 0.4, and the signature that it names."""
    named = {
        "Description": "net",
        "Service": "mxnet_vision_service.py",
        "Symbol": "net-symbol.json",
        "Parameters": "net-0000.params",
        "Signature": "signature.json",
        "Model-Name": "net",
        "Model-Format": "MXNet-Symbolic",
        **model,
    }
    manifest = {"Engine": {"MXNet": 0.12}, "Model-Archive-Version": 0.1, "Model": named}
    return {"MANIFEST.json": manifest, named["Signature"]: IMAGE_SIGNATURE}


def write_zip(path: Path, files: Files, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, as_bytes(content))
    return path


def write_tgz(path: Path, files: Files, prefix: str = "") -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(prefix + name)
            info.size = len(as_bytes(content))
            archive.addfile(info, io.BytesIO(as_bytes(content)))
    return path


def write_folder(path: Path, files: Files, prefix: str = "") -> Path:
    for name, content in files.items():
        target = path / prefix / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(as_bytes(content))
    return path


def files_in(folder: Path) -> dict[str, bytes]:
    """What `write_folder` wrote, or another wrote there."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def as_bytes(content: bytes | str | dict[str, Any]) -> bytes:
    if isinstance(content, dict):
        return json.dumps(content).encode()
    return content.encode() if isinstance(content, str) else content


def means_onnx() -> bytes:
    """scores[n, c] = mean of channel c of data[n, 3, 8, 8]."""
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["data"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["scores"]),
        ],
        "means",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    data: bytes = model.SerializeToString()
    assert onnx.load_from_string(data).graph.name == "means"
    return data
