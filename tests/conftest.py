"""What has to be set before any test module is imported."""

import os

# As the command does it: ONNX Runtime would otherwise keep telemetry of its use.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
