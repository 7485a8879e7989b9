"""One onegate behind another, each as a user starts it."""

from __future__ import annotations

import json
import time
from pathlib import Path

from tests.e2e.load import SteadyLoad
from tests.e2e.models import body, write_multiplier
from tests.e2e.running import get, running


def test_a_model_of_one_gateway_is_served_by_another_and_beside_a_version_of_its_own(tmp_path: Path) -> None:
    for name, factor in (("behind", 2.0), ("before", 3.0)):
        (tmp_path / name).mkdir()
        write_multiplier(tmp_path / name / "times.onnx", factor)
    model = {"name": "times", "source": "times.onnx", "serve": {"executor": "inline"}}
    with running(tmp_path / "behind", {"store": "store", "models": [model]}) as behind:
        behind.wait_until_settled()
        source = f"grpc://{behind.grpc}/times"
        versions = [
            {"source": source, "label": "there", "traffic": 100},
            {"source": "times.onnx", "label": "here", "traffic": 0},
        ]
        with running(
            tmp_path / "before", {"store": "store", "models": [{"name": "times", "versions": versions}]}
        ) as before:
            before.wait_until_settled()
            [there] = [row for row in before.rows("times") if row["executor"] == "upstream"]
            assert (there["state"], there["traffic"], there["runtime"]) == ("READY", 100, "upstream")
            with SteadyLoad(f"{before.url}/v2/models/times/infer", body(1.0)) as load:
                time.sleep(2)
                # Traffic moves to the version of its own, and the other server may go.
                versions[0]["traffic"], versions[1]["traffic"] = 0, 100
                before.write_config()
                applied = before.command("apply", "onegate.yaml")
                assert applied.returncode == 0, applied.stderr
                time.sleep(1)
                behind.stop()
                time.sleep(1)
                outcomes = load.stop()
            assert outcomes.failures == []
            assert set(outcomes.answers) == {2.0, 3.0}
            status, _ = get(
                f"{before.url}/v2/models/times/versions/{there['version']}/infer",
                json.dumps(json.loads(body(1.0)) | {"parameters": {"timeout": 500_000}}).encode(),
            )
            assert status == 504
