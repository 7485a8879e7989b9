"""Operators of TensorFlow that tf2onnx 1.17 does not convert, or converts wrong, added to it by its own registry."""


def register() -> None:
    pass
