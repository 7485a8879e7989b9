"""Archives that were written on a machine with accelerators, for a machine without: all of it lies on the CPU.

PyTorch keeps the device of every tensor in a program, and the device of new tensors in its code.
"""

from __future__ import annotations

import re
from typing import Any

_ACCELERATORS = ("cuda", "mps", "xpu", "hip")
_CPU = {"type": "cpu", "index": None}
_IN_CODE = re.compile(rf"torch\.device\(\"({'|'.join(_ACCELERATORS)})(:\d+)?\"\)".encode())


def on_cpu(program: Any) -> Any:
    """A program's or a table of weights' JSON with every device the CPU."""
    if isinstance(program, dict):
        if program.keys() == _CPU.keys() and program["type"] in _ACCELERATORS:
            return dict(_CPU)
        return {key: on_cpu(value) for key, value in program.items()}
    return [on_cpu(each) for each in program] if isinstance(program, list) else program


def code_on_cpu(code: bytes) -> bytes:
    """TorchScript's code with every device the CPU."""
    return _IN_CODE.sub(b'torch.device("cpu")', code)
