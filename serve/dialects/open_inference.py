"""What both forms of the Open Inference Protocol, HTTP and gRPC, say of this server."""

from __future__ import annotations

SERVER_NAME = "onegate"

SIGNATURE = "signature"
"""Request parameter, onegate's own: which of the model's signatures is called, where it has several."""

HTTP_EXTENSIONS = ("binary_tensor_data",)


def platform_of(runtime: str) -> str:
    """The protocol's `platform` text, `<project>_<format>`; clients may not depend on it."""
    return "onnx_onnxv1" if runtime == "onnx" else f"onegate_{runtime}"


def is_number(text: str) -> bool:
    """Whether `text` is a decimal number that `int` reads: digits only, and no more than a number here can need."""
    return text.isascii() and text.isdigit() and len(text) <= 18
