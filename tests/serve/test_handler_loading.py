"""How the code of a handler is found and loaded: functions, classes, the thin modules of either server."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from PIL import Image

from model_store.errors import ModelNotReady
from serve.inference import Payload
from serve.runtimes.handler import HandlerRuntime
from tests.serve.handler_archives import (
    MMS_ARCHIVE,
    Start,
    ask,
    folder_of,
    handler_manifest,
    starting,
    write_wheel,
)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with starting(tmp_path) as start:
        yield start


def test_a_class_with_initialize_and_handle_is_made_once(start: Start) -> None:
    code = """
        class Base:
            def handle(self, data, context):
                raise NotImplementedError

        class Service(Base):
            def initialize(self, context):
                self.count = 10

            def handle(self, data, context):
                self.count += 1
                return [str(self.count)] * len(data)
    """
    runtime = start(code, entry="service.py")
    assert [ask(runtime, b"")[0].body for _ in range(2)] == [b"11", b"12"]


def test_the_function_that_the_entry_names_is_called(start: Start) -> None:
    code = "def serve(data, context):\n    return None if data is None else ['served'] * len(data)"
    assert ask(start(code, entry="service:serve"), b"")[0].body == b"served"


def test_the_class_that_the_entry_names_is_made(start: Start) -> None:
    code = """
        class Other:
            def handle(self, data, context):
                return ["other"] * len(data)

        class Wanted(Other):
            def handle(self, data, context):
                return ["wanted"] * len(data)
    """
    assert ask(start(code, entry="service.py:Other"), b"")[0].body == b"other"
    assert ask(start(code), b"")[0].body == b"wanted"


def test_requirements_of_the_archive_are_there_for_its_handler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEGATE_CACHE", str(tmp_path / "cache"))
    code = """
        import tinydep
        def handle(data, context):
            return None if data is None else [str(tinydep.answer)]
    """
    folder = folder_of(tmp_path / "archive", {"service.py": code}, MMS_ARCHIVE)
    (folder / "requirements.txt").write_text(f"--no-index\n./{write_wheel(folder)}\n")
    runtime = HandlerRuntime(folder, handler_manifest(requirements="requirements.txt"), threads=1)
    (answer,) = ask(runtime, b"")
    runtime.close()
    assert answer.body == b"42"


def test_a_service_of_mms_0_4_is_made_with_its_manifest(tmp_path: Path) -> None:
    service = """
        import json
        from mms.model_service.model_service import SingleNodeService

        class Doubling(SingleNodeService):
            def __init__(self, model_name, model_dir, manifest, gpu=None):
                super().__init__(model_name, model_dir, manifest, gpu)
                self.factor = manifest["Model"]["Factor"]
                with open(model_dir + "/signature.json") as file:
                    self._signature = json.load(file)

            def _preprocess(self, data):
                return [[float(x) for x in value] for value in data]

            def _inference(self, data):
                return [[x * self.factor for x in value] for value in data]
    """
    files = {
        "doubling_service.py": service,
        "MANIFEST.json": json.dumps({"Model": {"Service": "doubling_service.py", "Factor": 2}}),
        "signature.json": json.dumps(
            {"inputs": [{"data_name": "x", "data_shape": [0, 2]}], "input_type": "application/json"}
        ),
    }
    folder = folder_of(tmp_path, files)
    runtime = HandlerRuntime(folder, handler_manifest("mms", "doubling_service.py:handle"), threads=1)
    answers = ask(
        runtime, Payload(b"[1, 2]", "application/json"), Payload(b"[3]", ""), Payload(b"", "", fields={"x": b"[4]"})
    )
    runtime.close()
    assert [json.loads(answer.body) for answer in answers] == [[2.0, 4.0], [6.0], [8.0]]


SCALED = """
    import torch
    from ts.torch_handler.base_handler import BaseHandler

    class Scaled(BaseHandler):
        def preprocess(self, data):
            return torch.tensor([request.get("data") or request.get("body") for request in data])

        def postprocess(self, data):
            return [{self.mapping[str(int(row.argmax()))]: row} for row in data]
"""
LABELS = json.dumps({"0": "cat", "1": ["n01", "dog"]})


class Doubled(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2


def torchscript(path: Path) -> None:
    torch.jit.script(Doubled()).save(str(path))


OPSET = {"opset_imports": [helper.make_opsetid("", 17)]}


def onnx_graph(path: Path) -> None:
    node = helper.make_node("Add", ["x", "x"], ["y"])
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2]) for name in "xy"]
    onnx.save(helper.make_model(helper.make_graph([node], "g", ends[:1], ends[1:]), ir_version=10, **OPSET), path)


@pytest.mark.filterwarnings("ignore:`torch.jit")  # deprecated, and what archives hold
@pytest.mark.parametrize(("payload", "write"), [("model.pt", torchscript), ("model.onnx", onnx_graph)])
def test_a_class_of_torchserves_base_handler_runs_the_archives_model(
    tmp_path: Path, payload: str, write: Callable[[Path], None]
) -> None:
    archive = {"createdOn": "x", "model": {"modelName": "m", "handler": "service.py", "serializedFile": payload}}
    folder = folder_of(tmp_path, {"service.py": SCALED, "index_to_name.json": LABELS}, archive)
    write(folder / payload)
    runtime = HandlerRuntime(folder, handler_manifest("torchserve", "service.py"), threads=1)
    answers = ask(runtime, Payload(b"[1, 2]", "application/json"), Payload(b"[4.5, 3]", "application/json"))
    runtime.close()
    assert [json.loads(answer.body) for answer in answers] == [{"dog": [2.0, 4.0]}, {"cat": [9.0, 6.0]}]


def test_torchserves_vision_handler_decodes_pictures(start: Start, tmp_path: Path) -> None:
    code = """
        import torch
        from ts.torch_handler.vision_handler import VisionHandler

        class Brightness(VisionHandler):
            def initialize(self, context):
                self.device = torch.device("cpu")
                self.model = lambda pictures: pictures.mean(dim=(1, 2))

            @staticmethod
            def image_processing(picture):
                return torch.tensor(list(picture.convert("L").getdata()), dtype=torch.float32).reshape(1, -1)
    """
    picture = io.BytesIO()
    Image.new("RGB", (3, 2), (200, 200, 200)).save(picture, "png")
    in_base64 = json.dumps(base64.b64encode(picture.getvalue()).decode()).encode()
    answers = ask(
        start(code, "torchserve"),
        Payload(picture.getvalue(), "image/png"),
        Payload(in_base64, "application/json"),
        Payload(json.dumps([[50.0] * 6]).encode(), "application/json"),
        Payload(b"", "", fields={"data": picture.getvalue()}),
    )
    assert [json.loads(answer.body) for answer in answers] == [200.0, 200.0, 50.0, 200.0]


def test_a_state_dict_is_loaded_into_the_class_of_its_model_file(tmp_path: Path) -> None:
    model = """
        import torch
        class Net(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.w = torch.nn.Parameter(torch.zeros(2))
            def forward(self, x):
                return x * self.w
    """
    properties = {"model_name": "m", "model_file": "net.py", "serialized_file": "net.pth"}
    folder = folder_of(tmp_path, {"service.py": SCALED, "net.py": model, "index_to_name.json": LABELS})
    torch.save({"w": torch.tensor([3.0, 1.0])}, folder / "net.pth")
    spec = handler_manifest("torchserve", "service.py", properties=properties)
    runtime = HandlerRuntime(folder, spec, threads=1)
    (answer,) = ask(runtime, Payload(b"[1, 2]", "application/json"))
    runtime.close()
    assert json.loads(answer.body) == {"cat": [3.0, 2.0]}


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import no_such_library", r"ModuleNotFoundError: No module named 'no_such_library' \(service.py:1\)"),
        ("x = (", r"SyntaxError: '\(' was never closed \(service.py:1\)"),
        ("\ndef handle(data, context):\n    raise OSError('no weights')", r"OSError: no weights \(service.py:2\)"),
        ("x = 1", "ValueError: module 'service' has no function 'handle' and no class with a method 'handle'"),
        ("import sys; sys.exit('stop')", r"SystemExit: stop \(service.py:1\)"),
        ("import os; os._exit(5)", "did not start: its process ended with exit code 5"),
        (
            "import os, sys; print('bad weights', file=sys.stderr, flush=True); os.abort()",
            "did not start: its process ended with signal SIGABRT; its last words: bad weights",
        ),
    ],
)
def test_a_handler_that_cant_be_loaded_is_told_with_its_own_error(start: Start, code: str, message: str) -> None:
    with pytest.raises(ModelNotReady, match=rf"^echo v3: the handler .*{message}$"):
        start(code)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"MAR-INF/MANIFEST.json": "{"}, "Expecting property name"),
        (
            {"MAR-INF/MANIFEST.json": '{"model": {"configFile": "c.yaml"}}', "c.yaml": "[1]"},
            "c.yaml: expected keys and",
        ),
        ({"MAR-INF/MANIFEST.json": '{"model": {"configFile": "c.yaml"}}'}, "c.yaml"),
    ],
)
def test_an_archive_whose_own_description_cant_be_read_is_refused(
    tmp_path: Path, files: dict[str, str], message: str
) -> None:
    with pytest.raises(ModelNotReady, match=rf"^echo v3: the archive's manifest or config can't be read: .*{message}"):
        HandlerRuntime(folder_of(tmp_path, files), handler_manifest(), threads=1)
