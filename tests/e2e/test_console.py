"""The console of a gateway as users start it, in a real browser, through the controller in Ray."""

from __future__ import annotations

import json
from pathlib import Path

from tests.console.browsers import needs_browser, run
from tests.console.served import CIFAR
from tests.e2e.running import get, running
from tests.serve.administered import converted


@needs_browser
def test_the_console_of_a_running_gateway_shows_and_changes_it(tmp_path: Path) -> None:
    sources = [converted(tmp_path, factor, "shared") for factor in (2, 3)]
    shared = {
        "name": "shared",
        "versions": [{"source": sources[0], "traffic": 90}, {"source": sources[1], "traffic": 10}],
    }
    models = [CIFAR, shared, {"name": "broken", "source": str(tmp_path / "absent.onnx")}]
    with running(tmp_path, {"store": "store", "models": models}) as gateway:
        gateway.wait_until_greeted()
        run("real.test.mjs", {"management": gateway.management}, gateway.process.pid)

        call = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}).encode()
        status, body = get(f"{gateway.management}/api/models/shared/infer?version=1", call)
        assert (status, json.loads(body)["outputs"][0]["data"]) == (200, [2.0, 4.0])
        assert get(f"{gateway.management}/api/models/absent/predict", b"[1, 2]")[0] == 404
