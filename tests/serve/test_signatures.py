"""Versions of several signatures, and of graphs that compute one batch only: from the request to the graph."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from model_store.errors import InvalidInput, ModelNotFound
from model_store.manifest import Manifest, Signature, TensorSpec
from serve.dialects import open_inference_grpc
from serve.dialects.base import HttpRequest
from serve.dialects.open_inference_http import OpenInferenceHttp
from serve.executors.inline import build_inline_executor
from serve.inference import InferenceRequest, ModelDescription, ModelQuery, Tensors, output_tensors
from serve.routing import Batching, ServeOptions, VersionEntry
from serve.runtimes.base import Runtime, load_runtime
from tests.serve.tiny_versions import FunctionRuntime, dispatcher_of, entry, manifest

X2 = TensorSpec("x", "FP32", (-1, 2))
Y2 = TensorSpec("y", "FP32", (-1, 2))
ENCODE = Signature((TensorSpec("text", "FP32", (-1, 3)),), (TensorSpec("code", "FP32", (-1, 3)),))


def write_graph(path: Path, operator: str, taken: TensorSpec, given: TensorSpec) -> None:
    def value(spec: TensorSpec) -> onnx.ValueInfoProto:
        shape = [None if size < 0 else size for size in spec.shape]
        return helper.make_tensor_value_info(spec.name, TensorProto.FLOAT, shape)

    nodes = [helper.make_node(operator, [taken.name], [given.name])]
    graph = helper.make_graph(nodes, "g", [value(taken)], [value(given)])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)


@pytest.fixture
def two_signatures(tmp_path: Path) -> Manifest:
    write_graph(tmp_path / "model.onnx", "Neg", X2, Y2)
    write_graph(tmp_path / "encode.onnx", "Abs", ENCODE.inputs[0], ENCODE.outputs[0])
    described = manifest("double", 1, (X2,), (Y2,))
    return msgspec.structs.replace(
        described,
        signatures={**described.signatures, "encode": ENCODE},
        graphs={"serving_default": "model.onnx", "encode": "encode.onnx"},
    )


def request(name: str, columns: int, signature: str | None = None, rows: int = 1) -> InferenceRequest:
    tensor = np.full((rows, columns), -3, np.float32)
    return InferenceRequest("double", inputs={name: tensor}, signature=signature)


async def test_each_signature_is_checked_queued_and_run_by_itself(two_signatures: Manifest, tmp_path: Path) -> None:
    runtime = load_runtime(tmp_path, two_signatures, threads=1)
    executor = build_inline_executor(runtime, two_signatures, 8)
    described = VersionEntry(two_signatures, ServeOptions("inline", batching=Batching()))
    dispatcher = dispatcher_of(described, executor=executor)
    answers = await asyncio.gather(
        dispatcher.infer(request("x", 2)),
        dispatcher.infer(request("x", 2, "serving_default")),
        dispatcher.infer(request("text", 3, "encode", rows=2)),
    )
    default, named, other = (output_tensors(answer) for answer in answers)
    assert default["y"].tolist() == named["y"].tolist() == [[3, 3]]
    assert other["code"].tolist() == [[3, 3, 3], [3, 3, 3]]
    with pytest.raises(InvalidInput, match=r"takes the inputs 'text': FP32\[\*,3\]; got 'x'"):
        await dispatcher.infer(request("x", 2, "encode"))
    with pytest.raises(ModelNotFound, match="no signature 'decode'; signatures: serving_default, encode"):
        await dispatcher.infer(request("x", 2, "decode"))


def test_the_signature_travels_to_a_replica_in_the_message() -> None:
    tensor = {"x": np.ones((1, 2), np.float32)}
    assert open_inference_grpc.decode_request(open_inference_grpc.encode_request("m", 1, tensor)).signature is None
    message = open_inference_grpc.encode_request("m", 1, tensor, signature="encode")
    assert open_inference_grpc.decode_request(message).signature == "encode"


def post(parameters: dict[str, object]) -> HttpRequest:
    body = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}], "parameters": parameters}
    return HttpRequest("POST", "/v2/models/m/infer", json.dumps(body).encode(), {}.get)


def test_a_request_parameter_names_the_signature() -> None:
    query = OpenInferenceHttp().decode(post({"signature": "encode"}))
    assert isinstance(query, InferenceRequest)
    assert query.signature == "encode"
    with pytest.raises(InvalidInput, match="parameter 'signature' is the name of a signature, got 3"):
        OpenInferenceHttp().decode(post({"signature": 3}))


def test_metadata_lists_signatures_where_there_are_several(two_signatures: Manifest) -> None:
    asked = HttpRequest("GET", "/v2/models/double", b"", {}.get)
    reply = OpenInferenceHttp().encode(
        asked, ModelQuery("double"), ModelDescription(two_signatures, "1", ("1",), ServeOptions("inline"))
    )
    metadata = json.loads(reply.body)
    assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]
    assert list(metadata["signatures"]) == ["serving_default", "encode"]
    assert metadata["signatures"]["encode"]["outputs"] == [{"name": "code", "datatype": "FP32", "shape": [-1, 3]}]
    single = OpenInferenceHttp().encode(
        asked, ModelQuery("double"), ModelDescription(manifest(), "1", ("1",), ServeOptions("inline"))
    )
    assert "signatures" not in json.loads(single.body)


# -- one batch only --------------------------------------------------------------------------------------------------


@pytest.fixture
def four_rows(tmp_path: Path) -> Runtime:
    """A graph of exactly four rows, offered with any number."""
    write_graph(tmp_path / "model.onnx", "Neg", TensorSpec("x", "FP32", (4, 2)), TensorSpec("y", "FP32", (4, 2)))
    described = msgspec.structs.replace(manifest(inputs=(X2,), outputs=(Y2,)), fixed_batch={"serving_default": 4})
    return load_runtime(tmp_path, described, threads=1)


@pytest.mark.parametrize("rows", [1, 3, 4, 5, 11])
def test_requests_are_padded_to_the_batch_and_split_around_it(four_rows: Runtime, rows: int) -> None:
    sent = np.arange(rows * 2, dtype=np.float32).reshape(rows, 2)
    assert four_rows.run({"x": sent})["y"].tolist() == (-sent).tolist()


async def test_the_queue_puts_whole_batches_together() -> None:
    def neg(inputs: Tensors) -> Tensors:
        return {"y": -inputs["x"]}

    described = entry(batching=Batching(max_batch_size=10), inputs=(X2,), outputs=(Y2,))
    described = msgspec.structs.replace(
        described, manifest=msgspec.structs.replace(described.manifest, fixed_batch={"serving_default": 4})
    )
    runtime = FunctionRuntime(neg)
    dispatcher = dispatcher_of(described, executor=build_inline_executor(runtime, described.manifest, 10))
    runtime.batches.clear()
    await asyncio.gather(*(dispatcher.infer(request("x", 2)) for _ in range(20)))
    assert runtime.batches == [8, 8, 4]
