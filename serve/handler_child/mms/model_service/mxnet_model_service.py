"""Stands for `mms.model_service.mxnet_model_service`: services that run MXNet, which their environment must have."""

from __future__ import annotations

import json
import os
from typing import Any

from mms.model_service.model_service import ModelService, SingleNodeService

__all__ = ["GluonImperativeBaseService", "MXNetBaseService", "ModelService", "SingleNodeService", "check_input_shape"]


def check_input_shape(inputs: list[Any], signature: dict[str, Any]) -> None:
    """Raises `AssertionError` where an input's shape contradicts the signature, where 0 is free; so is the batch."""
    specs = signature["inputs"]
    assert len(inputs) == len(specs), f"expected {len(specs)} inputs, got {len(inputs)}"
    for value, spec in zip(inputs, specs):
        name, shape = spec["data_name"], spec["data_shape"]
        right = len(value.shape) == len(shape) and all(
            want in (0, got) for want, got in list(zip(shape, value.shape))[1:]
        )
        assert right, f"input {name}: expected shape {shape}, got {value.shape}"


class _Described(SingleNodeService):
    """Signature and labels, which both kinds of services read when they are made."""

    def __init__(self, model_name: str, model_dir: str, manifest: Any, gpu: Any = None) -> None:
        import mxnet

        super().__init__(model_name, model_dir, manifest, gpu)
        self.ctx = mxnet.cpu() if gpu is None else mxnet.gpu(int(gpu))
        with open(os.path.join(model_dir, manifest["Model"].get("Signature") or "signature.json")) as file:
            self._signature = json.load(file)
        synset = os.path.join(model_dir, "synset.txt")
        if os.path.isfile(synset):
            with open(synset) as file:
                self.labels = [line.strip() for line in file]

    def _likeliest(self, data: Any) -> Any:
        """The five likeliest classes of each output; only those who call it need labels."""
        from mms.utils.mxnet import ndarray

        if not hasattr(self, "labels"):
            raise RuntimeError("no labels: put a synset.txt into the archive")
        return [ndarray.top_probability(output, self.labels, top=5) for output in data]


class MXNetBaseService(_Described):
    """An exported symbol with its parameters."""

    def __init__(self, model_name: str, model_dir: str, manifest: Any, gpu: Any = None) -> None:
        import mxnet

        super().__init__(model_name, model_dir, manifest, gpu)
        model = manifest["Model"]
        symbol = mxnet.sym.load(os.path.join(model_dir, model["Symbol"]))
        saved = mxnet.nd.load(os.path.join(model_dir, model["Parameters"]))
        parts: dict[str, dict[str, Any]] = {"arg": {}, "aux": {}}
        for name, value in saved.items():
            kind, _, plain = name.partition(":")
            parts[kind][plain] = value
        shapes = [(s["data_name"], tuple(size or 1 for size in s["data_shape"])) for s in self._signature["inputs"]]
        self.mx_model = mxnet.mod.Module(
            symbol=symbol, context=self.ctx, data_names=[name for name, _ in shapes], label_names=None
        )
        self.mx_model.bind(for_training=False, data_shapes=[(name, (1, *shape[1:])) for name, shape in shapes])
        self.mx_model.set_params(parts["arg"], parts["aux"], allow_missing=True, allow_extra=True)

    def _preprocess(self, data: Any) -> Any:
        import mxnet

        return [mxnet.nd.array(value) for value in data]

    def _inference(self, data: Any) -> Any:
        from mxnet.io import DataBatch

        check_input_shape(data, self._signature)
        self.mx_model.forward(DataBatch([item.as_in_context(self.ctx) for item in data]))
        return self.mx_model.get_outputs()

    def _postprocess(self, data: Any) -> Any:
        return [str(output.asnumpy().tolist()) for output in data]


class GluonImperativeBaseService(_Described):
    """A Gluon block; the service that derives from this one makes it and hands it over as `net`."""

    def __init__(self, model_name: str, model_dir: str, manifest: Any, net: Any = None, gpu: Any = None) -> None:
        super().__init__(model_name, model_dir, manifest, gpu)
        self.net = net
        parameters = manifest["Model"].get("Parameters")
        if net is not None and parameters:
            net.load_parameters(os.path.join(model_dir, parameters), ctx=self.ctx)
            net.hybridize()

    def _inference(self, data: Any) -> Any:
        check_input_shape(data, self._signature)
        return [item.as_in_context(self.ctx) for item in data]
