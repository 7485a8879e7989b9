"""`onegate up --watch FOLDER`: models come, change and go with what lies in the folder."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from tests.e2e.models import body, write_multiplier
from tests.e2e.running import get, running
from tests.serve.waiting import before_long

PATIENCE_S = 30.0


def test_a_folder_of_models_is_served_as_it_changes(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    (folder / "net/1").mkdir(parents=True)
    write_multiplier(folder / "net/1/model.onnx", 1)
    write_multiplier(tmp_path / "kept.onnx", 9)
    config = {"models": [{"name": "kept", "source": "kept.onnx"}]}
    with running(tmp_path, config, words=["--watch", "models"]) as gateway:
        gateway.wait_until_settled()

        def answer(path: str) -> Any:
            status, reply = get(f"{gateway.url}/v2/models/{path}/infer", body(1.0))
            return json.loads(reply)["outputs"][0]["data"][0] if status == 200 else status

        assert answer("net/versions/1") == 1.0
        (folder / "net/2").mkdir()
        write_multiplier(folder / "net/2/model.onnx", 2)
        assert before_long(lambda: answer("net/versions/2") == 2.0, PATIENCE_S)
        assert before_long(lambda: answer("net") == 2.0, PATIENCE_S)
        write_multiplier(folder / ".alone", 4)
        os.replace(folder / ".alone", folder / "alone.onnx")
        assert before_long(lambda: answer("alone") == 4.0, PATIENCE_S)
        write_multiplier(folder / "alone.onnx", 5)
        assert before_long(lambda: answer("alone") == 5.0, PATIENCE_S)
        (folder / "broken.onnx").write_text("no model")
        shutil.rmtree(folder / "net")
        assert before_long(lambda: answer("net") == 404, PATIENCE_S)
        assert (answer("alone"), answer("kept")) == (5.0, 9.0)
        log = gateway.log.read_text()
        assert log.count("--watch: broken.onnx: source 'broken.onnx' is of no known kind") == 1
        assert log.count("--watch: retiring net") == 1
