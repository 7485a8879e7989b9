"""Stands for `ts.torch_handler.base_handler`: loads the archive's model, and the four steps of a batch.

The model is TorchScript, a state dict for the class in `modelFile`, an exported program (`.pt2`), a compiled library
(`.so`), or ONNX (`.onnx`).
"""

from __future__ import annotations

import importlib
import os
import time
from typing import Any

from ts.handler_utils.timer import timed
from ts.utils.util import list_classes_from_module, load_label_mapping


class BaseHandler:
    """Derive from it and override any of `initialize`, `preprocess`, `inference` and `postprocess`."""

    def __init__(self) -> None:
        self.model: Any = None
        self.mapping: dict[str, str] | None = None
        self.device: Any = None
        self.initialized = False
        self.context: Any = None
        self.model_pt_path: str | None = None
        self.manifest: Any = None
        self.map_location: str | None = None
        self.model_yaml_config: dict[str, Any] = {}
        self.explain = False
        self.target = 0

    def initialize(self, context: Any) -> None:
        """Loads the model that the manifest names, onto the GPU where there is one, and the labels of its classes.

        Raises `RuntimeError` when there is no model to load.
        """
        import torch

        properties, self.manifest, self.model_yaml_config = (
            context.system_properties,
            context.manifest,
            context.model_yaml_config,
        )
        gpu = properties.get("gpu_id") if torch.cuda.is_available() else None
        self.map_location = "cpu" if gpu is None else "cuda"
        self.device = torch.device("cpu" if gpu is None else f"cuda:{gpu}")
        self._load(properties["model_dir"])
        self.mapping = load_label_mapping(os.path.join(properties["model_dir"], "index_to_name.json"))
        self.initialized = True

    def _load(self, model_dir: str) -> None:
        model = self.manifest["model"]
        serialized, model_file = model.get("serializedFile"), model.get("modelFile")
        self.model_pt_path = os.path.join(model_dir, serialized) if serialized else None
        if model_file:
            self.model = self._load_pickled_model(model_dir, model_file, self.model_pt_path)
            self.model.to(self.device).eval()
        elif self.model_pt_path:
            loader = LOADERS.get(os.path.splitext(self.model_pt_path)[1], _torchscript)
            self.model = loader(self)
        else:
            raise RuntimeError("the manifest names neither a serializedFile nor a modelFile")
        self._compile()

    def _load_torchscript_model(self, model_pt_path: str) -> Any:
        import torch

        return torch.jit.load(model_pt_path, map_location=self.device)

    def _load_pickled_model(self, model_dir: str, model_file: str, model_pt_path: str | None) -> Any:
        """The only class of the model's file, with the state dict where there is one."""
        import torch

        if not os.path.isfile(os.path.join(model_dir, model_file)):
            raise RuntimeError("Missing the model.py file")
        module = importlib.import_module(os.path.splitext(os.path.basename(model_file))[0])
        classes = list_classes_from_module(module)
        if len(classes) != 1:
            raise ValueError(f"Expected only one class as model definition. {classes}")
        model = classes[0]()
        if model_pt_path:
            model.load_state_dict(torch.load(model_pt_path, map_location=self.device))
        return model

    def _compile(self) -> None:
        pt2 = self.model_yaml_config.get("pt2")
        options = pt2.get("compile") if isinstance(pt2, dict) else None
        if options and options.get("enable"):
            import torch

            self.model = torch.compile(self.model, **{key: options[key] for key in options if key != "enable"})

    @timed
    def preprocess(self, data: Any) -> Any:
        """Requests to a tensor."""
        import torch

        return torch.as_tensor(data, device=self.device)

    @timed
    def inference(self, data: Any, *args: Any, **kwargs: Any) -> Any:
        """Runs the model on what `preprocess` made."""
        import torch

        with torch.no_grad():
            return self.model(data.to(self.device), *args, **kwargs)

    @timed
    def postprocess(self, data: Any) -> Any:
        """The model's output to a list, one element a request."""
        return data.tolist()

    def handle(self, data: Any, context: Any) -> Any:
        """The steps, one after the other."""
        started = time.time()
        self.context = context
        if self._header("describe") == "True":
            return [self.describe_handle()]
        prepared = self.preprocess(data)
        self.explain = self._is_explain()
        output = self.explain_handle(prepared, data) if self.explain else self.postprocess(self.inference(prepared))
        context.metrics.add_time("HandlerTime", round((time.time() - started) * 1000, 2), None, "ms")
        return output

    def _header(self, name: str) -> Any:
        return self.context.get_request_header(0, name)

    def _is_explain(self) -> bool:
        return bool(self._header("explain") == "True")

    def explain_handle(self, data_preprocess: Any, raw_data: Any) -> Any:
        """Explanations by the derived class's `get_insights(tensor, raw input, target)`."""
        row = raw_data[0]
        inputs = (row.get("data") or row.get("body")) if isinstance(row, dict) else None
        target = (row.get("target") if isinstance(row, dict) else None) or 0
        return self.get_insights(data_preprocess, inputs, target)

    def get_insights(self, tensor_data: Any, raw_data: Any, target: Any = 0) -> Any:
        """Explanations; for the derived class to define."""
        raise NotImplementedError(f"{type(self).__name__} does not define get_insights()")

    def describe_handle(self) -> Any:
        """What the model says of itself; for the derived class to define."""
        return None

    def get_device(self) -> Any:
        """Where the model is."""
        return self.device


class OnnxModel:
    """An ONNX Runtime session that is called as a torch module is: tensors in, a tensor or a tuple of them out."""

    def __init__(self, path: str, device: str) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS") or 0)
        providers = ["CUDAExecutionProvider"] if device == "cuda" else []
        self.session = onnxruntime.InferenceSession(path, options, providers=[*providers, "CPUExecutionProvider"])

    def __getattr__(self, name: str) -> Any:
        # Handlers that know ONNX Runtime call `self.model.run(..)`, `.get_inputs()` and so on.
        return getattr(self.session, name)

    def __call__(self, *inputs: Any) -> Any:
        """All outputs for the inputs in the graph's order."""
        import torch

        names = [spec.name for spec in self.session.get_inputs()]
        outputs = self.session.run(None, {name: value.cpu().numpy() for name, value in zip(names, inputs)})
        tensors = tuple(torch.from_numpy(output) for output in outputs)
        return tensors[0] if len(tensors) == 1 else tensors


def _torchscript(handler: Any) -> Any:
    return handler._load_torchscript_model(handler.model_pt_path).eval()


def _exported_program(handler: Any) -> Any:
    import torch

    return torch.export.load(handler.model_pt_path).module().to(handler.device)


def _compiled_library(handler: Any) -> Any:
    import torch

    return torch._export.aot_load(handler.model_pt_path, handler.map_location)


def _onnx(handler: Any) -> Any:
    return OnnxModel(handler.model_pt_path, handler.map_location)


LOADERS = {".pt2": _exported_program, ".so": _compiled_library, ".onnx": _onnx}
"""Suffix of the serialised file -> what loads it; all others are TorchScript."""
