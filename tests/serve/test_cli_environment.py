"""What the command sets for itself and all that it starts."""

import os
import subprocess
import sys
from pathlib import Path


def test_onnx_runtime_leaves_no_note_of_its_use(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    code = "from serve.cli import main; main(['schema'], standalone_mode=False); import onnxruntime"
    subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "TMPDIR": str(tmp_path)},
        check=True,
        stdout=subprocess.DEVNULL,
        cwd=Path(__file__).parents[2],
    )
    assert list(tmp_path.iterdir()) == []
