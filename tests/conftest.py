"""What has to be set before any test module is imported."""

import os

# As the command does it: ONNX Runtime would otherwise note its use and report it to its maker.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
