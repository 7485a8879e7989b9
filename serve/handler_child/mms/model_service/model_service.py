"""Stands for `mms.model_service.model_service`: services of MMS 0.4, which know one request at a time."""

from __future__ import annotations

import ast
from typing import Any


class ModelService:
    """What every service of 0.4 derives from."""

    _signature: Any = None

    def __init__(self, model_name: str, model_dir: str, manifest: Any, gpu: Any = None) -> None:
        self.ctx: Any = None
        self.model_name = model_name

    def initialize(self, context: Any) -> None:
        """Called once when the model is loaded."""
        self.context = context

    @property
    def signature(self) -> Any:
        """The parsed `signature.json`."""
        return self._signature

    def ping(self) -> Any:
        """The service's health, in words."""
        return "healthy"

    def inference(self, data: list[Any]) -> Any:
        """Inputs of one request, in the signature's order, to a list of outputs."""
        raise NotImplementedError(f"{type(self).__name__} does not define inference()")

    def handle(self, data: list[dict[str, Any]], context: Any) -> list[Any]:
        """A batch: one inference a request. A single output is answered as itself, not as a list of one."""
        return [_single(self.inference(self._inputs(request))) for request in data]

    def _inputs(self, request: dict[str, Any]) -> list[Any]:
        signature = self.signature or {"inputs": [{"data_name": "data"}]}
        values = [_field(request, spec["data_name"]) for spec in signature["inputs"]]
        if signature.get("input_type") == "application/json":
            return [_parsed(value) for value in values]
        return values


class SingleNodeService(ModelService):
    """A service of one model, in three steps."""

    def inference(self, data: list[Any]) -> Any:
        """`_preprocess`, `_inference`, `_postprocess`."""
        return self._postprocess(self._inference(self._preprocess(data)))

    def _preprocess(self, data: Any) -> Any:
        return data

    def _inference(self, data: Any) -> Any:
        return data

    def _postprocess(self, data: Any) -> Any:
        return data


def _field(request: dict[str, Any], name: str) -> Any:
    for key in (name, "body", "data"):
        if request.get(key) is not None:
            return request[key]
    return None


def _parsed(value: Any) -> Any:
    """Bytes as the Python literal that they spell, which is how MMS reads what came without a content type."""
    return ast.literal_eval(value.decode()) if isinstance(value, (bytes, bytearray)) else value


def _single(outputs: Any) -> Any:
    return outputs[0] if isinstance(outputs, list) and len(outputs) == 1 else outputs
