"""What `up` makes sure of before anything starts: ports, the store's lease, the desired state, a private folder."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_store import generations
from model_store.errors import StoreError
from model_store.store import Store
from serve.config import Config
from serve.launch import LEASE_FILE, LaunchError, StopSignal, check_ports, private_folder, store_lease, write_generation

REPOSITORY = Path(__file__).parents[2]


def config(store: Path | str = "/nowhere", **gateway: object) -> Config:
    return Config.model_validate(
        {
            "store": str(store),
            "gateway": {"host": "127.0.0.1"} | gateway,
            "models": [{"name": "digits", "source": "/exports/digits.onnx"}],
        }
    )


# -- ports -----------------------------------------------------------------------------------------------------------


def ports(host: str = "127.0.0.1") -> dict[str, int]:
    """Three ports that nobody listens on."""
    probes = [socket.socket() for _ in range(3)]
    for probe in probes:
        probe.bind((host, 0))
    numbers = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return dict(zip(("http_port", "grpc_port", "management_port"), numbers, strict=True))


def test_free_ports_are_fine_and_stay_free() -> None:
    checked = config(**ports())
    check_ports(checked)
    check_ports(checked)


@pytest.mark.parametrize("key", ["http_port", "grpc_port", "management_port"])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_port_that_somebody_listens_on_is_named_with_its_key(key: str, shared: bool, host: str) -> None:
    numbers = ports()
    with socket.socket() as other:
        if shared:
            # As another gateway does: it would quietly share the requests.
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", numbers[key]))
        other.listen()
        with pytest.raises(LaunchError) as refused:
            check_ports(config(host=host, **numbers))
    shown = "127.0.0.1" if key == "management_port" else host
    assert refused.value.message == (
        f"gateway.{key}: {shown}:{numbers[key]} can't be used (Address already in use); "
        "end what listens there or set another port"
    )
    assert refused.value.details == {"port": numbers[key]}


def test_a_port_whose_last_connections_linger_is_fine() -> None:
    numbers = ports()
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", numbers["http_port"]))
        listener.listen()
        client = socket.create_connection(("127.0.0.1", numbers["http_port"]))
        served, _ = listener.accept()
        # Whoever closes first keeps the address for a minute.
        served.close()
        client.close()
    check_ports(config(**numbers))


def test_an_address_of_another_machine_is_named() -> None:
    with pytest.raises(LaunchError, match=r"^gateway\.http_port: 192\.0\.2\.1:\d+ can't be used \(Cannot assign"):
        check_ports(config(host="192.0.2.1", **ports()))


# -- the store's lease -----------------------------------------------------------------------------------------------

HOLDER = """
import sys, time
from pathlib import Path
from serve.config import Config
from serve.launch import store_lease

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


# -- the private folder ----------------------------------------------------------------------------------------------


@pytest.fixture
def process_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Lets a test change folders and paths of this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(sys, "path", ["", str(tmp_path), *sys.path])
    yield
    tempfile.tempdir = None


@pytest.mark.usefixtures("process_state")
def test_everything_temporary_lies_in_a_folder_that_goes_away(tmp_path: Path) -> None:
    with private_folder() as folder:
        assert folder.parent == tmp_path
        assert Path.cwd() == folder / "work"
        assert os.environ["TMPDIR"] == str(folder / "tmp")
        assert stat_mode(folder) == 0o700
        (folder / "tmp" / "left").write_text("behind")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("process_state")
def test_the_folder_that_the_command_was_typed_in_is_not_on_the_path(tmp_path: Path) -> None:
    with private_folder():
        assert "" not in sys.path
        assert str(tmp_path) not in sys.path
        assert sys.path != []


@pytest.mark.usefixtures("process_state")
def test_the_folder_goes_away_after_a_failure_too(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), private_folder():
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []


def stat_mode(folder: Path) -> int:
    return folder.stat().st_mode & 0o777


# -- the end ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def stop_signal() -> Iterator[StopSignal]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield StopSignal()
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_an_event(stop_signal: StopSignal, number: signal.Signals) -> None:
    assert (stop_signal.came, stop_signal.wait(0)) == (False, False)
    signal.raise_signal(number)
    assert (stop_signal.came, stop_signal.wait(0)) == (True, True)


def test_a_second_signal_ends_the_process_at_once(stop_signal: StopSignal) -> None:
    signal.raise_signal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_signals_that_somebody_else_took_over_are_taken_back(stop_signal: StopSignal) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    stop_signal.install()
    signal.raise_signal(signal.SIGTERM)
    assert stop_signal.came is True
