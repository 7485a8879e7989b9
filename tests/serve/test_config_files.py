"""What a command takes as its config: YAML, or what another server was configured with."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from model_store.errors import ConfigError, SourceError
from serve.cli import main
from serve.commands.config_files import read_config
from serve.config import load_config
from tests.e2e.running import ONEGATE
from tests.serve.importing_trees import write_onnx, write_saved_model, write_text
from tests.sources.archives_writing import mms, torchserve, write_zip

HANDLER = "def handle(data, context):\n    return data\n"
KINDS = (
    "or name another server's configuration: a config.properties or .mar archives; a models.config or "
    "<model>/<version>/saved_model.pb; <model>/config.pbtxt or <model>/<version>/model.onnx"
)


@pytest.fixture(autouse=True)
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*words: object) -> Result:
    return CliRunner().invoke(main, [*map(str, words)])


def triton() -> Path:
    write_onnx(Path("models/net/3/model.onnx"))
    write_text(Path("models/net/config.pbtxt"), "max_batch_size: 4 optimization { graph { level: 1 } }")
    return Path("models")


def models_config() -> Path:
    write_saved_model(Path("serving/net/7"))
    return write_text(Path("models.config"), 'model_config_list { config { name: "net" base_path: "serving/net" } }')


def base_path() -> Path:
    write_saved_model(Path("serving/net/7"))
    return Path("serving/net")


def model_store() -> Path:
    Path("model-store").mkdir()
    write_zip(Path("model-store/echo.mar"), {**torchserve("echo.py", modelName="echo"), "echo.py": HANDLER})
    return Path("model-store")


def torchserve_properties() -> Path:
    model_store()
    return write_text(Path("config.properties"), "model_store=model-store\nload_models=all\njob_queue_size=7\n")


def mms_properties() -> Path:
    Path("model-store").mkdir()
    write_zip(Path("model-store/net.mar"), {**mms("net.py:handle"), "net.py": HANDLER})
    return write_text(Path("config.properties"), "model_store=model-store\nload_models=net.mar\n")


def one_archive() -> Path:
    return model_store() / "echo.mar"


OLD = [triton, models_config, base_path, torchserve_properties, mms_properties, model_store, one_archive]


@pytest.mark.parametrize("write", OLD)
def test_another_servers_configuration_is_the_config_that_the_import_writes_here(write: Callable[[], Path]) -> None:
    path = write()
    assert run("import", path, "--output", "onegate.yaml").exit_code == 0
    given = read_config(path)
    assert given.imported is not None
    assert given.config == load_config(Path("onegate.yaml"))
    assert given.config.store == str(Path("store").absolute())


def test_environment_and_options_go_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEGATE_GATEWAY_GRPC_PORT", "9001")
    gateway = read_config(triton(), overrides={"gateway.http_port": 9000, "store": "there"}).config.gateway
    assert (gateway.http_port, gateway.grpc_port, gateway.management_port) == (9000, 9001, 8002)


def test_it_says_whose_it_is_how_to_own_it_and_what_is_lost() -> None:
    said: list[str] = []
    read_config(triton()).tell(said.append, in_lines=True)
    assert said == [
        "models: read as a configuration of another server (Triton model repository); "
        "`onegate import models --output onegate.yaml` writes the config to keep",
        "Triton's usual ports: its command line may have said others",
        "Triton listens on every address: `host: 0.0.0.0` does so here",
        "net: net/config.pbtxt: optimization: ONNX Runtime runs with onegate's own settings",
    ]


def test_a_path_with_a_space_is_quoted_to_be_pasted() -> None:
    folder = triton().rename("our models")
    said: list[str] = []
    read_config(folder).tell(said.append)
    assert "`onegate import 'our models' --output onegate.yaml`" in said[0]


def test_up_tells_before_it_starts_anything() -> None:
    with socket.create_server(("127.0.0.1", 0)) as old_server:
        done = run("up", triton(), "--http-port", old_server.getsockname()[1])
    assert done.exit_code == 1
    first, *_, last = done.stderr.splitlines()
    assert first.startswith("onegate: models: read as a configuration of another server (Triton model repository)")
    assert "optimization  ONNX Runtime runs with onegate's own settings" in done.stderr
    assert last.endswith("end what listens there or set another port")


def test_up_tells_in_lines_where_all_lines_are_json() -> None:
    with socket.create_server(("127.0.0.1", 0)) as old_server:
        words = [ONEGATE, "up", triton(), "--http-port", str(old_server.getsockname()[1]), "--log-format", "json"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    *lines, refused = done.stderr.splitlines()
    texts = [json.loads(line)["text"] for line in lines]
    assert texts[0].startswith("models: read as a configuration of another server (Triton model repository)")
    assert texts[-1] == "net: net/config.pbtxt: optimization: ONNX Runtime runs with onegate's own settings"
    assert refused.endswith("end what listens there or set another port")


def test_convert_takes_a_models_options_from_it() -> None:
    path = triton()
    done = run("convert", "models/net/3/model.onnx", "--name", "net", "--config", path, "--store", "store")
    assert done.exit_code == 0
    assert "onegate: models: read as a configuration of another server" in done.stderr
    done = run("convert", "models/net/3/model.onnx", "--name", "other", "--config", path, "--store", "store")
    assert "models: no model 'other'; models: net" in done.stderr


# -- code of models --------------------------------------------------------------------------------------------------


def test_code_is_trusted_only_where_the_model_is_named() -> None:
    path = model_store()
    assert [model.trust for model in read_config(path).config.models] == [False]
    given = read_config(path, trusted=["echo"])
    assert [model.trust for model in given.config.models] == [True]
    said: list[str] = []
    given.tell(said.append, in_lines=True)
    assert len(said) == 2
    assert "`onegate import model-store --trust echo --output onegate.yaml`" in said[0]
    assert "load_models: not given" in said[1]


def test_trust_is_written_by_the_import_alike() -> None:
    path = model_store()
    assert run("import", path, "--trust", "echo", "--output", "onegate.yaml").exit_code == 0
    assert "  - name: echo\n    trust: true\n" in Path("onegate.yaml").read_text()
    assert load_config(Path("onegate.yaml")) == read_config(path, trusted=["echo"]).config


def test_a_model_without_code_stays_untrusted() -> None:
    [model] = read_config(triton(), trusted=["net"]).config.models
    assert model.trust is False


def test_trust_in_an_unknown_model_is_refused_with_the_names() -> None:
    done = run("up", model_store(), "--trust", "ehco")
    assert (done.exit_code, done.stderr) == (1, "onegate: --trust ehco: no model of this name; models: echo\n")


def test_trust_goes_with_another_servers_configuration() -> None:
    done = run("up", write_text(Path("onegate.yaml"), "models: []"), "--trust", "net")
    assert done.exit_code == 2
    assert "in a YAML file say `trust: true`" in done.stderr


# -- what is YAML, and what is neither -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model-store/onegate.yaml", "model-store/onegate.yml", "models.json", "onegate"])
def test_yaml_stays_yaml_whatever_lies_beside_it(name: str) -> None:
    torchserve_properties()
    path = write_text(Path(name), '{"models": [{"name": "net", "source": "model_config_list"}]}')
    given = read_config(path)
    assert given.imported is None
    assert [model.source for model in given.config.models] == [str(path.absolute().parent / "model_config_list")]
    said: list[str] = []
    given.tell(said.append)
    assert said == []


def test_yaml_may_come_through_a_pipe() -> None:
    os.mkfifo("pipe")
    writer = threading.Thread(target=Path("pipe").write_text, args=("gateway: {http_port: 9999}\nmodels: []\n",))
    writer.start()
    try:
        assert read_config(Path("pipe")).config.gateway.http_port == 9999
    finally:
        writer.join()


def test_a_folder_of_neither_kind_is_refused_with_both() -> None:
    Path("empty").mkdir()
    with pytest.raises(ConfigError) as refused:
        read_config(Path("empty"))
    assert refused.value.message == f"empty: is a folder; name the YAML file in it; {KINDS}"


def test_a_file_of_neither_kind_is_refused_with_both() -> None:
    with pytest.raises(ConfigError) as refused:
        read_config(write_text(Path("notes.txt"), "our models"))
    assert refused.value.message == (
        f"notes.txt:1: expected a mapping of keys such as 'models:', got 'our models'; {KINDS}"
    )


def test_mistakes_of_a_yaml_file_are_told_without_other_servers() -> None:
    with pytest.raises(ConfigError) as refused:
        read_config(write_text(Path("onegate.yaml"), "our models"))
    assert refused.value.message == "onegate.yaml:1: expected a mapping of keys such as 'models:', got 'our models'"
    with pytest.raises(ConfigError) as refused:
        read_config(write_text(Path("onegate"), "models: []\nstores: here"))
    assert refused.value.message == "onegate:2: stores: unknown key; did you mean 'store'?"


def test_a_path_that_is_not_there_is_refused_with_the_nearest() -> None:
    triton()
    write_text(Path("onegate.yaml"), "models: []")
    with pytest.raises(ConfigError) as refused:
        read_config(Path("onegate.yml"))
    assert refused.value.message == "onegate.yml: no such file; did you mean 'onegate.yaml'?"


def test_what_can_not_be_read_is_refused_as_the_import_refuses_it() -> None:
    path = write_text(Path("config.properties"), "models={\n")
    done = run("up", path)
    assert (done.exit_code, done.stderr) == (1, run("import", path).stderr)
    assert "config.properties: models: expected JSON" in done.stderr


def test_a_server_that_starts_without_models_has_them_registered_later() -> None:
    given = read_config(write_text(Path("config.properties"), "model_store=model-store\n"))
    assert (given.config.models, given.config.gateway.model_server) == ([], "torchserve")


def test_a_configuration_of_which_nothing_can_be_served_is_refused_with_the_reasons(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_text(Path("models/plan/1/model.plan"), "x")
    with pytest.raises(SourceError, match="none of its 1 models can be served"):
        read_config(Path("models"))
    assert "a TensorRT plan" in capsys.readouterr().err
