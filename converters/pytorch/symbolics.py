"""Operators of TorchScript that PyTorch's exporter for it lacks, written for its own registry.

Scripted code asks `if not len(self.cache)` and the like: truth of numbers, which the exporter of torch 2.13 leaves out.
"""

from __future__ import annotations

from functools import cache
from typing import Any

_FIRST_OPSET = 9
_BOOL = 9
"""`TensorProto.BOOL`."""


@cache
def register_symbolics() -> None:
    """Makes them known to the exporter, once in a process."""
    from torch.onnx import register_custom_op_symbolic

    register_custom_op_symbolic("aten::Bool", truth, _FIRST_OPSET)
    # The exporter drops one underscore at the end of a name, taking `__not__` for an operator that works in place.
    register_custom_op_symbolic("aten::__not_", negation, _FIRST_OPSET)


def truth(g: Any, value: Any) -> Any:
    """aten::Bool(number or Tensor[1]) -> bool: whether it is not zero."""
    return g.op("Cast", value, to_i=_BOOL)


def negation(g: Any, value: Any) -> Any:
    """aten::__not__(bool) -> bool."""
    return g.op("Not", truth(g, value))
