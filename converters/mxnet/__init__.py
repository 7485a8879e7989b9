"""MXNet: its two files read and translated to ONNX, without MXNet."""
