"""Operators of PyTorch that do more than compute, and libraries of operators that only compute.

What a source calls is held against these before PyTorch loads it.
"""

from __future__ import annotations

COMPUTING = ("aten", "prim", "prims", "quantized", "quantized_decomposed", "torchvision", "torchaudio")
"""Libraries whose operators may be called; those of other libraries need `trust`."""

REACHING_OUT = frozenset({"from_file", "save", "load", "rpc_sync", "rpc_async", "rpc_remote", "PythonOp"})
"""They read, write or map files, or call other processes."""
