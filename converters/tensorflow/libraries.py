"""The libraries that decide what a conversion gives, with their versions."""

from __future__ import annotations


def versions() -> dict[str, str]:
    """The libraries that decide what a conversion gives."""
    import tensorflow
    import tf2onnx

    return {"tensorflow": tensorflow.__version__, "tf2onnx": tf2onnx.__version__}
