"""`onegate prune`: what it says, and what desired state keeps."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from converters.publish import convert_and_publish
from model_store import generations, served
from model_store.served import Served
from model_store.signing_keys import write_new_pair
from model_store.store import Store
from serve.cli import main
from serve.config import config_of
from serve.control.needed_versions import NeededVersions
from serve.control.preparation import conversion_options
from serve.management_client import ManagementClient
from tests.e2e.running import free_ports
from tests.listening import Quiet, listening
from tests.model_store.publishing import manifest, write_model
from tests.model_store.test_pruning import make_old, orphan
from tests.serve.control.test_preparation import export_linear, model


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Five versions of `digits` that share their files."""
    store = Store.open(str(tmp_path / "store"))
    for number in range(1, 6):
        store.publish(manifest(key=f"key-{number}"), write_model(tmp_path / "made"))
    return store


def onegate(tmp_path: Path, *words: object) -> Result:
    return CliRunner().invoke(main, ["prune", *map(str, words), "--store", str(tmp_path / "store")])


def desire(store: Store, *models: dict[str, Any], management_port: int | None = None) -> None:
    """A generation with these models, of a gateway that does not run, or of which the management port answers."""
    ports = dict(zip(("http_port", "grpc_port", "management_port"), free_ports(3), strict=True))
    ports["management_port"] = management_port or ports["management_port"]
    config = config_of({"store": store.url, "gateway": ports, "models": list(models)}, "a test")
    generations.append(store, max(generations.numbers(store), default=0) + 1, config.document())


def test_what_is_removed_is_told(store: Store, tmp_path: Path) -> None:
    orphan(store, b"x" * 2**20)
    young = onegate(tmp_path)
    assert (young.exit_code, young.stdout) == (
        0,
        "removed files that no version needs: 0, 0.0 MiB\n"
        "files that no version needs and that are younger than 24 hours stay: 1\n",
    )
    make_old(store)

    assert onegate(tmp_path, "--dry-run").stdout == "would remove files that no version needs: 1, 1.0 MiB\n"
    assert onegate(tmp_path, "--keep", 4).stdout == (
        "removed digits version 1\nremoved files that no version needs: 1, 1.0 MiB\n"
    )
    assert store.versions("digits") == [2, 3, 4, 5]


def test_json_is_for_programs(store: Store, tmp_path: Path) -> None:
    orphan(store)
    make_old(store)

    assert json.loads(onegate(tmp_path, "--keep", 4, "--dry-run", "--json").stdout) == {
        "dry_run": True,
        "versions": [{"name": "digits", "version": 1}],
        "kept": [],
        "blobs": 1,
        "bytes": 6,
        "leftovers": 0,
        "young": 0,
    }


def test_versions_that_any_generation_names_stay(store: Store, tmp_path: Path) -> None:
    desire(store, {"name": "digits", "versions": [{"version": 1}]})
    desire(store, {"name": "digits", "versions": [{"version": 3, "traffic": 100}, {"version": 4, "traffic": 0}]})
    make_old(store)

    result = onegate(tmp_path, "--keep", 2)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[:3] == [
        "removed digits version 2",
        "kept digits version 1: a generation needs it",
        "kept digits version 3: a generation needs it",
    ]
    assert store.versions("digits") == [1, 3, 4, 5]


class _State(Quiet, BaseHTTPRequestHandler):
    """A management port where version 2 of `digits` is served."""

    def do_GET(self) -> None:
        if self.headers["Authorization"] != "Bearer the-key":
            self.send_error(401)
            return
        body = json.dumps({"models": [{"name": "digits", "version": 2}, {"name": "new", "version": None}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def test_version_that_a_running_gateway_serves_stays(store: Store, tmp_path: Path) -> None:
    make_old(store)
    with listening(_State) as port:
        desire(store, {"name": "digits", "versions": [{"version": 4}]}, management_port=port)
        refused = onegate(tmp_path, "--keep", 1)
        unchanged = store.versions("digits")
        result = onegate(tmp_path, "--keep", 1, "--key", "the-key")

    assert (refused.exit_code, unchanged) == (1, [1, 2, 3, 4, 5])
    assert result.exit_code == 0
    assert result.stdout.splitlines()[2:4] == [
        "kept digits version 2: served",
        "kept digits version 4: a generation needs it",
    ]
    assert store.versions("digits") == [2, 4, 5]


def test_version_of_the_source_as_it_is_now_stays(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path / "store"))
    source = export_linear(tmp_path / "m.onnx", 2.0)
    described = {"name": "m", "source": str(source)}
    convert_and_publish(store, "m", source, conversion_options(model(source=str(source))))
    for number in (2, 3):
        store.publish(manifest("m", f"key-{number}"), write_model(tmp_path / "made"))
    desire(store, described)

    needed = NeededVersions(store, print, lambda config: ManagementClient(config.gateway.management_url))
    assert needed("m") == {1: "a generation needs it"}
    assert needed("other") == {}


def test_source_that_can_not_be_read_keeps_all_versions_and_says_so(store: Store, tmp_path: Path) -> None:
    desire(store, {"name": "digits", "source": str(tmp_path / "absent.onnx")})
    make_old(store)

    result = onegate(tmp_path, "--keep", 1)
    assert store.versions("digits") == [1, 2, 3, 4, 5]
    assert result.stderr.startswith("onegate: all versions of 'digits' are kept: source ")
    assert "absent.onnx" in result.stderr
    assert "kept digits version 4: its source can't be read\n" in result.stdout


def test_versions_of_the_last_24_hours_stay_and_are_told(store: Store, tmp_path: Path) -> None:
    result = onegate(tmp_path, "--keep", 3)
    assert result.stdout == (
        "kept digits version 1: written in the last 24 hours\n"
        "kept digits version 2: written in the last 24 hours\n"
        "removed files that no version needs: 0, 0.0 MiB\n"
    )
    assert store.versions("digits") == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("words", [["prune"], ["prune", "--keep", "1"], ["versions", "digits"], ["sign", "digits"]])
def test_store_that_is_not_there_is_refused_and_not_made(tmp_path: Path, words: list[str]) -> None:
    mistyped = tmp_path / "mistyped"
    write_new_pair(tmp_path / "key.pem")
    key = ["--private-key", str(tmp_path / "key.pem")] if words[0] == "sign" else []
    result = CliRunner().invoke(main, [*words, *key, "--store", str(mistyped)])
    assert result.exit_code == 1
    assert f"store '{mistyped}' can't be read: No such file or directory; mend that, or name another store" in (
        result.stderr
    )
    assert not mistyped.exists()


def test_keeping_none_is_wrong_usage(tmp_path: Path) -> None:
    assert onegate(tmp_path, "--keep", 0).exit_code == 2


def serve_record(store: Store, number: int, *versions: int) -> None:
    document = {"name": "digits", "versions": [{"version": version} for version in versions]}
    served.append(store, Served(number, "digits", "2026-01-02T03:04:05+00:00", number, document))


def test_versions_of_the_newest_two_served_records_stay(store: Store, tmp_path: Path) -> None:
    serve_record(store, 1, 1)
    serve_record(store, 2, 2, 3)
    serve_record(store, 3, 4)
    make_old(store)

    assert json.loads(onegate(tmp_path, "--keep", 1, "--json").stdout)["kept"] == [
        {"name": "digits", "version": 2, "reason": "a rollback goes back to it"},
        {"name": "digits", "version": 3, "reason": "a rollback goes back to it"},
        {"name": "digits", "version": 4, "reason": "served last"},
    ]
    assert store.versions("digits") == [2, 3, 4, 5]


def test_a_damaged_record_counts_for_none_and_the_one_before_it_does(store: Store, tmp_path: Path) -> None:
    serve_record(store, 1, 1)
    serve_record(store, 2, 2)
    serve_record(store, 3, 3)
    damaged = tmp_path / "store" / "served" / "digits" / "3.json"
    damaged.chmod(0o644)
    damaged.write_bytes(damaged.read_bytes()[:-3])
    make_old(store)

    assert onegate(tmp_path, "--keep", 1).exit_code == 0
    assert store.versions("digits") == [1, 2, 5]


@pytest.mark.parametrize(("policy", "left"), [("all", [1, 2, 3, 4, 5]), ({"latest": 3}, [3, 4, 5])])
def test_versions_that_the_store_decides_about_stay(store: Store, tmp_path: Path, policy: Any, left: list[int]) -> None:
    desire(store, {"name": "digits", "versions": [{"version": 5}]})
    desire(store, {"name": "digits", "versions": policy})
    make_old(store)

    result = onegate(tmp_path, "--keep", 1)
    assert (result.exit_code, result.stderr) == (0, "")
    assert store.versions("digits") == left


def test_a_policy_of_before_needs_what_was_served_by_it(store: Store, tmp_path: Path) -> None:
    desire(store, {"name": "digits", "versions": "all"}, {"name": "other", "versions": {"latest": 1}})
    serve_record(store, 1, 2, 3)
    desire(store, {"name": "digits", "versions": [{"version": 4}]})
    serve_record(store, 2, 4)
    make_old(store)

    assert json.loads(onegate(tmp_path, "--keep", 1, "--json").stdout)["kept"] == [
        {"name": "digits", "version": 2, "reason": "a rollback goes back to it"},
        {"name": "digits", "version": 3, "reason": "a rollback goes back to it"},
        {"name": "digits", "version": 4, "reason": "served last"},
    ]
    assert store.versions("digits") == [2, 3, 4, 5]
