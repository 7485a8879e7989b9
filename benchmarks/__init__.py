"""What onegate costs beside bare ONNX Runtime and Ray Serve, measured: see README.md."""
