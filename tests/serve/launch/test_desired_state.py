"""The store's lease, which one gateway has, and the desired state that it begins with."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_store import generations
from model_store.errors import StoreError
from model_store.store import Store
from serve.config import Config
from serve.launch.desired_state import LEASE_FILE, store_lease, write_generation
from serve.launch.error import LaunchError
from tests.serve.launch.gateways import config

REPOSITORY = Path(__file__).parents[3]


# -- the store's lease -----------------------------------------------------------------------------------------------

HOLDER = """
import sys, time
from pathlib import Path
from serve.config import Config
from serve.launch.desired_state import store_lease

with store_lease(Config.model_validate({"store": sys.argv[1], "models": []})):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lease of the store in `tmp_path`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "store")], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_store_that_another_process_holds_is_refused_with_its_number(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    wanted = config(tmp_path / "store")
    for _ in range(2):
        with pytest.raises(LaunchError) as refused, store_lease(wanted):
            raise AssertionError
        assert refused.value.message == (
            f"store {wanted.store!r} belongs to a running gateway (process {holder.pid}); "
            "use `onegate apply`, or give this gateway a store of its own"
        )


def test_the_lease_ends_with_a_process_that_is_killed(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    holder.send_signal(signal.SIGKILL)
    assert holder.wait(5) == -signal.SIGKILL
    with store_lease(config(tmp_path / "store")):
        assert (tmp_path / "store" / LEASE_FILE).read_text() == str(os.getpid())


def test_the_lease_ends_with_its_block(tmp_path: Path) -> None:
    for _ in range(2):
        with store_lease(config(tmp_path / "store")):
            pass
    with pytest.raises(ZeroDivisionError), store_lease(config(tmp_path / "store")):
        _ = 1 / 0
    with store_lease(config(tmp_path / "store")):
        pass


def test_two_stores_have_two_leases(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    with store_lease(config(tmp_path / "other")):
        assert holder.poll() is None


def test_a_store_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    with pytest.raises(StoreError), store_lease(config(tmp_path / "store")):
        raise AssertionError


# -- the desired state -----------------------------------------------------------------------------------------------


def test_a_config_is_written_once_until_it_changes(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path / "store"))
    first = config(store.url)
    assert [write_generation(first), write_generation(first)] == [1, 1]
    changed = config(store.url, max_body_bytes=2048)
    assert [write_generation(changed), write_generation(changed)] == [2, 2]
    assert write_generation(first) == 3
    assert generations.numbers(store) == [1, 2, 3]
    newest = generations.newest(store)
    assert newest is not None
    assert Config.model_validate(newest.config) == first


def test_models_are_there_since_the_start_that_brought_them(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path / "store"))
    for names in ("a", "ab", "b", "ab"):
        models = [{"name": name, "source": "/m.onnx"} for name in names]
        write_generation(Config.model_validate({"store": store.url, "models": models}))
    added = [generations.read(store, number).added for number in (1, 2, 3, 4)]
    assert added == [{"a": 1}, {"a": 1, "b": 2}, {"b": 2}, {"a": 4, "b": 2}]
