"""How each peer is started with a workload's models, and what it is then sent.

Everybody has one process for the model (Triton, MLServer and TorchServe call it an instance or a worker), the same
number of ONNX Runtime threads and the same largest batch; all else is each server's default, but for what is said here.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from benchmarks.client import Body, first_output
from benchmarks.contestants import EXECUTORS, START_S, TUTORIAL, console_script, local_ray_settings, not_ready
from benchmarks.peers.environments import Environment
from benchmarks.peers.workloads import Workload
from benchmarks.servers import Server, free_ports, running

CHILDREN = Path(__file__).with_name("children")
ONGOING = 1000
"""`max_ongoing_requests` of Ray Serve: with its default of 5 it backs off under 64 connections."""

Read = Callable[[bytes, str | None], np.ndarray]
"""A reply's body and its inference header length to the first output."""


@dataclass(frozen=True)
class Target:
    """What is asked of a contestant: one path a model, all with one body."""

    contestant: str
    base: str
    paths: tuple[str, ...]
    body: Body
    read: Read
    grpc: str | None = None
    """`host:port` of its Open Inference gRPC service, where it has one."""

    def ask(self, timeout_s: float = 30.0) -> np.ndarray:
        """Sends the request to the first path; raises `OSError` or `ValueError` when there is no good answer."""
        request = urllib.request.Request(
            self.base + self.paths[0], data=self.body.content, headers=self.body.headers, method="POST"
        )
        with urllib.request.urlopen(request, timeout=timeout_s) as reply:
            return self.read(reply.read(), reply.headers.get("inference-header-content-length"))


Started = tuple[Server, list[Target]]


@contextmanager
def onegate(workload: Workload, folder: Path, environment: Environment | None) -> Iterator[Started]:
    """`onegate up` with the models inline and on replicas; of many models inline only, since a process each is no
    comparison with one process for all."""
    http_port, grpc_port, management_port = free_ports(3)
    executors = EXECUTORS if len(workload.models) == 1 else EXECUTORS[:1]
    serve = {"cpus": workload.threads, "replicas": 1, "batching": {"max_batch_size": workload.max_batch_size}}
    models = [
        {"name": f"{name}-{executor}", "source": str(model.path), "serve": {"executor": executor, **serve}}
        for name, model in workload.models.items()
        for executor in executors
    ]
    ports = {"http_port": http_port, "grpc_port": grpc_port, "management_port": management_port}
    config = folder / "onegate.yaml"
    config.write_text(yaml.safe_dump({"store": "store", "gateway": ports, "models": models}, sort_keys=False))
    with running("onegate", [console_script(), "up", str(config)], folder, {}) as server:
        server.wait_while(lambda: not_ready(f"http://127.0.0.1:{management_port}", len(models)), START_S)
        yield (
            server,
            [
                _v2(workload, f"onegate {executor}", http_port, lambda name, e=executor: f"{name}-{e}", grpc_port)
                for executor in executors
            ],
        )


@contextmanager
def triton(workload: Workload, folder: Path, environment: Environment | None) -> Iterator[Started]:
    """The server of the `nvidia-pytriton` wheel with its python backend and dynamic batching."""
    assert environment is not None
    assert environment.python is not None
    packages = next((environment.python.parent.parent / "lib").glob("python3*")) / "site-packages"
    inside = packages / "pytriton" / "tritonserver"
    backend = folder / "backends" / "python"
    backend.mkdir(parents=True)
    stub = f"{sys.version_info.major}.{sys.version_info.minor}"
    for file in (*(inside / "backends" / "python").iterdir(), *(inside / "python_backend_stubs" / stub).iterdir()):
        (backend / file.name).symlink_to(file)
    for name, model in workload.models.items():
        place = folder / "repository" / name / "1"
        place.mkdir(parents=True)
        shutil.copy(CHILDREN / "triton_model.py", place / "model.py")
        shutil.copy(model.path, place / "model.onnx")
        (place.parent / "config.pbtxt").write_text(_triton_config(workload, name))
    http_port, grpc_port = free_ports(2)
    command = [str(inside / "bin" / "tritonserver"), f"--model-repository={folder / 'repository'}"]
    command += [f"--backend-directory={folder / 'backends'}", f"--http-port={http_port}", f"--grpc-port={grpc_port}"]
    command += ["--allow-metrics=false", "--disable-auto-complete-config", "--http-address=127.0.0.1"]
    command += ["--grpc-address=127.0.0.1", "--http-thread-count=2"]
    settings = {
        "LD_LIBRARY_PATH": f"{Path(sys.base_prefix) / 'lib'}",
        "PEER_SITE_PACKAGES": str(packages),
        "PEER_THREADS": str(workload.threads),
    }
    with running("triton", command, folder, settings) as server:
        target = _v2(workload, "triton", http_port, grpc_port=grpc_port)
        server.wait_while(lambda: _no_answer(target), START_S)
        yield server, [target]


def _triton_config(workload: Workload, name: str) -> str:
    sizes = [", ".join(map(str, shape)) for shape in workload.row_shapes]
    return (
        f'name: "{name}"\nbackend: "python"\nmax_batch_size: {workload.max_batch_size}\n'
        f'input [{{name: "x" data_type: TYPE_FP32 dims: [{sizes[0]}]}}]\n'
        f'output [{{name: "y" data_type: TYPE_FP32 dims: [{sizes[1]}]}}]\n'
        "dynamic_batching {}\ninstance_group [{count: 1 kind: KIND_CPU}]\n"
    )


@contextmanager
def mlserver(workload: Workload, folder: Path, environment: Environment | None) -> Iterator[Started]:
    """MLServer with one parallel worker and adaptive batching."""
    assert environment is not None
    shutil.copy(CHILDREN / "mlserver_runtime.py", folder / "mlserver_runtime.py")
    http_port, grpc_port, metrics_port = free_ports(3)
    settings = {"host": "127.0.0.1", "http_port": http_port, "grpc_port": grpc_port, "metrics_port": metrics_port}
    (folder / "settings.json").write_text(json.dumps({**settings, "parallel_workers": 1, "debug": False}))
    for name, model in workload.models.items():
        place = folder / "models" / name
        place.mkdir(parents=True)
        described = {
            "name": name,
            "implementation": "mlserver_runtime.OnnxModel",
            "max_batch_size": workload.max_batch_size,
            "max_batch_time": 0.001,
            "parameters": {"uri": str(model.path)},
        }
        (place / "model-settings.json").write_text(json.dumps(described))
    command = [environment.command("mlserver"), "start", str(folder)]
    more = {"PEER_THREADS": str(workload.threads), "PYTHONPATH": str(folder)}
    with running("mlserver", command, folder, more) as server:
        target = _v2(workload, "mlserver", http_port)
        server.wait_while(lambda: _no_answer(target), START_S)
        yield server, [target]


@contextmanager
def litserve(workload: Workload, folder: Path, environment: Environment | None) -> Iterator[Started]:
    """LitServe with one worker a model."""
    assert environment is not None
    port = free_ports(1)[0]
    command = [str(environment.python), str(CHILDREN / "litserve_app.py"), "--port", str(port)]
    command += ["--threads", str(workload.threads), "--batch", str(workload.max_batch_size)]
    command += [f"{name}={model.path}" for name, model in workload.models.items()]
    with running("litserve", command, folder, {}) as server:
        target = _own(workload, "litserve", port, "/{}/predict")
        server.wait_while(lambda: _no_answer(target), START_S)
        yield server, [target]


@contextmanager
def bentoml(workload: Workload, folder: Path, environment: Environment | None) -> Iterator[Started]:
    """BentoML with one worker and adaptive batching."""
    assert environment is not None
    port = free_ports(1)[0]
    settings = {
        "PEER_THREADS": str(workload.threads),
        "PEER_BATCH": str(workload.max_batch_size),
        "PEER_MODEL": str(workload.model.path),
        "BENTOML_DO_NOT_TRACK": "True",
        "BENTOML_HOME": str(folder / "bentoml"),
    }
    command = [environment.command("bentoml"), "serve", "bentoml_service:Peer", "--port", str(port)]
    command += ["--host", "127.0.0.1", "--working-dir", str(CHILDREN)]
    with running("bentoml", command, folder, settings) as server:
        target = _own(workload, "bentoml", port, "/predict", reply_key=None)
        server.wait_while(lambda: _no_answer(target), START_S)
        yield server, [target]


@contextmanager
def torchserve(workload: Workload, folder: Path, environment: Environment | None) -> Iterator[Started]:
    """TorchServe with one worker a model; archives as folders, and its token authorisation off."""
    assert environment is not None
    ports = free_ports(5)
    store = folder / "archives"
    for name, model in workload.models.items():
        place = store / name
        (place / "MAR-INF").mkdir(parents=True)
        shutil.copy(CHILDREN / "torchserve_handler.py", place / "torchserve_handler.py")
        shutil.copy(model.path, place / "model.onnx")
        manifest = {"modelName": name, "handler": "torchserve_handler.py", "modelVersion": "1.0"}
        text = json.dumps({"runtime": "python", "archiverVersion": "0.12.0", "model": manifest})
        (place / "MAR-INF" / "MANIFEST.json").write_text(text)
    workers = {"minWorkers": 1, "maxWorkers": 1, "batchSize": workload.max_batch_size, "maxBatchDelay": 1}
    described = {
        name: {"1.0": {"defaultVersion": True, "marName": name, "responseTimeout": 120, **workers}}
        for name in workload.models
    }
    names = ("inference_address", "management_address", "metrics_address")
    lines = [f"{name}=http://127.0.0.1:{port}" for name, port in zip(names, ports[:3], strict=True)]
    lines += [f"grpc_inference_port={ports[3]}", f"grpc_management_port={ports[4]}", f"model_store={store}"]
    lines += ["load_models=all", "disable_token_authorization=true", "job_queue_size=1000"]
    lines += [f"models={json.dumps(described)}", "max_request_size=67108864", "max_response_size=67108864"]
    (folder / "config.properties").write_text("\n".join(lines) + "\n")
    command = [environment.command("torchserve"), "--start", "--foreground", "--ncs"]
    command += ["--model-store", str(store), "--ts-config", str(folder / "config.properties")]
    command += ["--disable-token-auth", "--models", *workload.models]
    path = f"{Path(str(environment.python)).parent}:{os.environ['PATH']}"
    settings = {"PEER_THREADS": str(workload.threads), "PATH": path, "LOG_LOCATION": str(folder)}
    with running("torchserve", command, folder, settings) as server:
        target = _own(workload, "torchserve", ports[0], "/predictions/{}")
        server.wait_while(lambda: _no_answer(target), START_S)
        yield server, [target]


def ray_serve(*, fast: bool) -> Callable[[Workload, Path, Environment | None], AbstractContextManager[Started]]:
    """Ray Serve as in its tutorial, or with HAProxy in front and its throughput switch on."""
    name = "ray serve, haproxy" if fast else "ray serve"

    @contextmanager
    def start(workload: Workload, folder: Path, environment: Environment | None) -> Iterator[Started]:
        port = free_ports(1)[0]
        command = [sys.executable, "-P", str(TUTORIAL), "--model", str(workload.model.path), "--port", str(port)]
        command += ["--threads", str(workload.threads), "--ongoing", str(ONGOING), "--folder", str(folder / "ray")]
        settings = local_ray_settings()
        if fast:
            settings |= {"RAY_SERVE_ENABLE_HA_PROXY": "1", "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1"}
            # Serve adds a folder of 56 letters, and HAProxy refuses a socket whose path has more than 97.
            short = folder.parent / "h"
            settings |= {
                f"RAY_SERVE_HAPROXY_{key}": str(short / file)
                for key, file in (("CONFIG_FILE_LOC", "haproxy.cfg"), ("SOCKET_PATH", "admin.sock"))
            }
        with running(name.replace(", ", "-").replace(" ", "-"), command, folder, settings) as server:
            target = _v2(workload, name, port)
            server.wait_while(lambda: _no_answer(target), START_S)
            yield server, [target]

    return start


@contextmanager
def granian(workload: Workload, folder: Path, environment: Environment | None) -> Iterator[Started]:
    """A bare server that echoes: no contestant, but the bound for large tensors."""
    assert environment is not None
    port = free_ports(1)[0]
    command = [str(environment.python), str(CHILDREN / "granian_echo.py"), str(port)]
    with running("granian", command, folder, {}) as server:
        content = workload.model.row.tobytes()
        body = Body(content, {"Content-Type": "application/octet-stream"})
        target = Target("granian echo", f"http://127.0.0.1:{port}", ("/",), body, _raw_reader(workload.model.row.shape))
        server.wait_while(lambda: _no_answer(target), START_S)
        yield server, [target]


Start = Callable[[Workload, Path, Environment | None], AbstractContextManager[Started]]

CONTESTANTS: dict[str, Start] = {
    "onegate": onegate,
    "triton": triton,
    "mlserver": mlserver,
    "litserve": litserve,
    "torchserve": torchserve,
    "bentoml": bentoml,
    "ray serve": ray_serve(fast=False),
    "ray serve, haproxy": ray_serve(fast=True),
    "granian": granian,
}

NOT_COMPARED: dict[tuple[str, str], str] = {
    ("bentoml", "resnet"): "it takes arrays as JSON or pickles; 3 MB of JSON would measure the parser",
    ("bentoml", "large"): "it takes arrays as JSON or pickles",
    ("bentoml", "many"): "a service has one worker set a model: fifty of them are fifty processes",
    ("litserve", "resnet"): "it takes JSON and forms; 3 MB of JSON would measure the parser",
    ("litserve", "large"): "it takes JSON and forms",
    ("litserve", "many"): "it starts a worker process a model, and each takes some 200 MB",
    ("torchserve", "many"): "it starts a worker process a model",
    ("mlserver", "resnet"): "its HTTP interface has no binary tensors",
    ("mlserver", "large"): "its HTTP interface has no binary tensors",
    **{
        (name, load): "the tutorial takes JSON"
        for name in ("ray serve", "ray serve, haproxy")
        for load in ("resnet", "large")
    },
    **{
        (name, "many"): "two deployments a model are a hundred processes"
        for name in ("ray serve", "ray serve, haproxy")
    },
    **{("granian", load): "an echo answers no model" for load in ("mlp", "resnet", "many")},
}
"""(Contestant, workload) -> why it does not take part."""


def _v2(
    workload: Workload,
    contestant: str,
    port: int,
    rename: Callable[[str], str] = str,
    grpc_port: int | None = None,
) -> Target:
    paths = tuple(f"/v2/models/{rename(name)}/infer" for name in workload.models)
    grpc = f"127.0.0.1:{grpc_port}" if grpc_port else None
    return Target(contestant, f"http://127.0.0.1:{port}", paths, workload.model.body, first_output, grpc)


def _own(workload: Workload, contestant: str, port: int, path: str, reply_key: str | None = "y") -> Target:
    """For servers with bodies of their own: `{"x": rows}`, or the row's bytes."""
    row = workload.model.row
    if workload.binary:
        body = Body(row.tobytes(), {"Content-Type": "application/octet-stream"})
        read = _raw_reader((1, *workload.row_shapes[1]))
    else:
        body = Body(json.dumps({"x": row.tolist()}).encode(), {"Content-Type": "application/json"})
        read = _json_reader(reply_key)
    paths = tuple(path.format(name) for name in workload.models)
    return Target(contestant, f"http://127.0.0.1:{port}", paths, body, read)


def _raw_reader(shape: tuple[int, ...]) -> Read:
    return lambda content, _: np.frombuffer(content, np.float32).reshape(shape)


def _json_reader(key: str | None) -> Read:
    def read(content: bytes, _: str | None) -> np.ndarray:
        answer = json.loads(content)
        return np.asarray(answer if key is None else answer[key], np.float32)

    return read


def _no_answer(target: Target) -> str | None:
    try:
        target.ask(10)
    except (OSError, ValueError, LookupError) as error:
        return str(error)
    return None
