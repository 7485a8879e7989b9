"""Archives with code of their own on replicas: batches, statuses, crashes, environments, and what is refused."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e import exports
from tests.e2e.running import Running, get, running
from tests.serve.handler_archives import write_wheel
from tests.serve.waiting import before_long
from tests.sources.archives_writing import Files, mms, torchserve, write_zip

OBEDIENT = '''"""Does what each request asks, as a service of MXNet Model Server."""
import os
from mms.service import PredictionException

class Service(object):
    def __init__(self):
        self.initialized = False

    def initialize(self, context):
        self.name = context.model_name
        self.initialized = True

    def handle(self, data, context):
        return [self.answer(row["body"], index, len(data), context) for index, row in enumerate(data)]

    def answer(self, asked, index, size, context):
        if "exit" in asked:
            os._exit(asked["exit"])
        if "refuse" in asked:
            raise PredictionException("no such thing", asked["refuse"])
        if "fail" in asked:
            raise ValueError(asked["fail"])
        context.set_response_status(asked.get("status", 200), "as asked", index)
        return {"model": self.name, "batch": size, "pid": os.getpid(), "id": asked.get("id")}

_service = Service()

def handle(data, context):
    if not _service.initialized:
        _service.initialize(context)
    if data is None:
        return None
    return _service.handle(data, context)
'''

LINEAR = '''"""A layer of PyTorch in the four steps of TorchServe."""
import tinydep
import torch
from ts.torch_handler.base_handler import BaseHandler

class Linear(BaseHandler):
    def preprocess(self, data):
        return torch.tensor([row.get("body") for row in data], dtype=torch.float32)

    def postprocess(self, outputs):
        return [{"row": row, "wheel": tinydep.answer, "batch": len(outputs)} for row in outputs.tolist()]
'''

WORKER_DIED = {"code": 500, "type": "InternalServerException", "message": "Worker died."}


def obedient(folder: Path) -> Path:
    """An archive of MXNet Model Server, which is told the size of its batches when a model is registered."""
    return write_zip(folder / "obedient.mar", {**mms("service:handle"), "service.py": OBEDIENT})


def linear(folder: Path, name: str, layer: bytes, requirements: str) -> Path:
    """An archive of TorchServe with a TorchScript layer, batches of two, and a wheel that its requirements may name."""
    files: Files = {
        "handler.py": LINEAR,
        "layer.pt": layer,
        "requirements.txt": f"--no-index\n{requirements}\n",
        "model-config.yaml": "batchSize: 2\nmaxBatchDelay: 300\n",
    }
    wheel = write_wheel(folder, code="answer = 42\n")
    files[wheel] = (folder / wheel).read_bytes()
    named = {"serializedFile": "layer.pt", "requirementsFile": "requirements.txt", "configFile": "model-config.yaml"}
    return write_zip(folder / f"{name}.mar", {**torchserve("handler.py", **named), **files})


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("handlers")
    archive = str(obedient(folder))
    layer = exports.write("torchscript", folder / "layer.pt").read_bytes()
    whole = str(linear(folder, "linear", layer, "./tinydep-1.0-py3-none-any.whl"))
    lacking = str(linear(folder, "lacking", layer, "tinydep==2.0"))
    models: list[dict[str, Any]] = [
        {
            "name": "obedient",
            "source": archive,
            "trust": True,
            "handler": {"batch_size": 4},
            "serve": {"batching": {"max_delay_ms": 300}},
        },
        {"name": "linear", "source": whole, "trust": True},
        {"name": "lacking", "source": lacking, "trust": True},
        {"name": "untrusted", "source": archive},
    ]
    config = {"store": "store", "models": models}
    with running(folder, config, environment={"ONEGATE_CACHE": str(folder / "cache")}) as started:
        started.wait_until_settled()
        yield started


def ask(gateway: Running, asked: dict[str, Any] | list[float], model: str = "obedient") -> tuple[int, Any]:
    """Status of a prediction, and the JSON of its body."""
    headers = {"content-type": "application/json"}
    status, body = get(f"{gateway.url}/predictions/{model}", json.dumps(asked).encode(), headers)
    return status, json.loads(body)


def ask_at_once(
    gateway: Running, *asked: dict[str, Any] | list[float], model: str = "obedient"
) -> list[tuple[int, Any]]:
    with ThreadPoolExecutor(len(asked)) as pool:
        return list(pool.map(lambda each: ask(gateway, each, model), asked))


def test_handlers_are_trusted_versions_on_replicas(gateway: Running) -> None:
    rows = {row["name"]: row for row in gateway.state()["models"]}
    for name in ("obedient", "linear"):
        assert (rows[name]["state"], rows[name]["runtime"], rows[name]["executor"]) == ("READY", "handler", "replicas")


def test_requests_that_come_at_once_are_handled_in_batches_of_the_config_s_size(gateway: Running) -> None:
    replies = ask_at_once(gateway, *({"id": number} for number in range(8)))
    assert [status for status, _ in replies] == [200] * 8
    assert [answer["id"] for _, answer in replies] == list(range(8))
    assert {answer["model"] for _, answer in replies} == {"net"}
    assert max(answer["batch"] for _, answer in replies) == 4


def test_each_request_of_a_batch_has_its_own_status(gateway: Running) -> None:
    replies = ask_at_once(gateway, {"id": 0}, {"id": 1, "status": 422}, {"id": 2, "status": 201}, {"id": 3})
    assert [status for status, _ in replies] == [200, 422, 201, 200]
    assert [answer["id"] for _, answer in replies] == [0, 1, 2, 3]
    assert max(answer["batch"] for _, answer in replies) > 1


@pytest.mark.parametrize(
    ("asked", "status", "message"),
    [
        ({"refuse": 418}, 418, "no such thing"),
        ({"refuse": 500}, 500, "no such thing"),
        ({"fail": "so"}, 503, "Prediction failed"),
    ],
    ids=["prediction_exception", "usual_code", "other_exception"],
)
def test_exception_of_a_handler_has_model_server_s_status(
    gateway: Running, asked: dict[str, Any], status: int, message: str
) -> None:
    assert ask(gateway, asked) == (status, {"code": status, "type": "InternalServerException", "message": message})


def test_traceback_goes_to_the_log_only(gateway: Running) -> None:
    assert "of my own" not in str(ask(gateway, {"fail": "of my own"}))
    assert before_long(lambda: "ValueError: of my own" in gateway.log.read_text())


def test_handler_that_exits_is_a_dead_worker_and_the_next_request_is_answered(gateway: Running) -> None:
    before = ask(gateway, {})[1]["pid"]
    assert ask(gateway, {"exit": 7}) == (500, WORKER_DIED)
    status, answer = ask(gateway, {})
    assert (status, answer["pid"] != before) == (200, True)


def test_handler_that_exits_takes_its_own_batch_along_and_no_other(gateway: Running) -> None:
    replies = ask_at_once(gateway, {"exit": 7}, *[{}] * 11)
    assert {str(answer) for status, answer in replies if status != 200} == {str(WORKER_DIED)}
    assert 1 <= [status for status, _ in replies].count(500) <= 4


def test_process_that_is_killed_is_replaced_before_the_next_request(gateway: Running) -> None:
    process = psutil.Process(ask(gateway, {})[1]["pid"])
    os.kill(process.pid, signal.SIGKILL)
    assert [status for status, _ in ask_at_once(gateway, {}, {}, {})] == [200] * 3
    assert not process.is_running()
    assert len(gateway.replica_processes("obedient")) == 1


def test_replica_that_is_killed_leaves_no_handler_and_the_next_request_is_answered(gateway: Running) -> None:
    handler = psutil.Process(ask(gateway, {})[1]["pid"])
    [replica] = gateway.replica_processes("obedient")
    replica.kill()
    assert psutil.wait_procs([handler], timeout=10)[1] == []
    assert ask(gateway, {})[0] == 200


def test_handler_of_torchserve_finds_its_model_and_the_wheel_of_its_archive(gateway: Running) -> None:
    replies = ask_at_once(gateway, *[[1, 0, 0, 2], [1, 1, 1, 1], [0, 0, 0, 0]], model="linear")
    assert [(status, answer["row"], answer["wheel"]) for status, answer in replies] == [
        (200, [9, 2], 42), (200, [10, 2], 42), (200, [0, 0], 42)
    ]  # fmt: skip
    assert max(answer["batch"] for _, answer in replies) == 2


def test_environment_is_built_once_in_the_cache_and_nowhere_else(gateway: Running) -> None:
    assert len(list(gateway.folder.glob("cache/handlers/*/complete"))) == 1
    with pytest.raises(ModuleNotFoundError):
        import tinydep  # noqa: F401  # it must not be here


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (
            "untrusted",
            "source 'obedient.mar' has a handler of its own (service:handle), code that it carries: say `trust: true` "
            "for this model, or unpack it (`onegate archive unpack`) and serve the model in it alone",
        ),
        (
            "lacking",
            "the environment of the handler can't be built: ERROR: No matching distribution found for tinydep==2.0",
        ),
    ],
)
def test_handler_that_may_not_or_can_not_run_is_a_failed_model(gateway: Running, name: str, reason: str) -> None:
    [row] = gateway.rows(name)
    assert (row["state"], row["version"], row["reason"]) == ("FAILED", None, reason)


def test_handler_that_is_retired_leaves_no_process_and_no_folder(gateway: Running) -> None:
    """One of the last: the model is gone afterwards."""
    [replica] = gateway.replica_processes("linear")
    handlers = replica.children(recursive=True)
    homes = {process.environ()["HOME"] for process in handlers}
    assert homes
    gateway.config["models"] = [model for model in gateway.config["models"] if model["name"] == "obedient"]
    gateway.write_config()
    assert gateway.command("apply", "onegate.yaml").returncode == 0
    assert psutil.wait_procs(handlers, timeout=30)[1] == []
    assert before_long(lambda: not any(Path(home).exists() for home in homes))


def test_shutdown_leaves_no_process_of_a_handler(gateway: Running) -> None:
    """The last one: it ends the gateway."""
    handlers = [psutil.Process(ask(gateway, {})[1]["pid"])]
    for replica in gateway.replica_processes("obedient"):
        handlers += replica.children(recursive=True)
    homes = {process.environ()["HOME"] for process in handlers}
    assert gateway.stop() == 0
    assert psutil.wait_procs(handlers, timeout=10)[1] == []
    assert [home for home in homes if Path(home).exists()] == []
