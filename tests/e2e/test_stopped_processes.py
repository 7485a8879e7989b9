"""Each process of the system killed, or stopped as one that hangs is, under steady load: clients see nothing of it.

Two gateways, two replicas; only who loses its own connection sends once more. The longest time without an answer is
printed.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.e2e.load import Outcomes, SteadyLoad
from tests.e2e.models import body, write_hanging, write_multiplier
from tests.e2e.running import Running, get, running

CONFIG = {
    "store": "store",
    "gateway": {"replicas": 2},
    "models": [{"name": "times", "source": "times.onnx", "serve": {"executor": "replicas", "replicas": 2}}],
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("stopped")
    write_multiplier(folder / "times.onnx", 2.0)
    with running(folder, dict(CONFIG)) as started:
        started.wait_until_settled()
        yield started


def replicas(gateway: Running) -> list[psutil.Process]:
    return gateway.replica_processes("times")


def gateways(gateway: Running) -> list[psutil.Process]:
    return gateway.serve_processes("onegate", "Gateway")


def pids(processes: list[psutil.Process]) -> set[int]:
    return {process.pid for process in processes}


def wait_until(condition: Callable[[], bool], within_s: float = 60.0) -> float:
    """The seconds until `condition` held; what can't be asked meanwhile does not count."""
    begin = time.monotonic()
    while time.monotonic() < begin + within_s:
        with contextlib.suppress(OSError, psutil.Error):
            if condition():
                return time.monotonic() - begin
        time.sleep(0.05)
    raise AssertionError(f"not within {within_s} s")


def is_whole(gateway: Running) -> bool:
    [row] = gateway.rows("times")
    return (row["state"], row["replicas"]["ready"]) == ("READY", 2) and len(gateways(gateway)) == 2


def under_load(gateway: Running, disturb: Callable[[], None], *, resend: bool = False) -> Outcomes:
    """What clients see from a second before the disturbance until all is as before."""
    wait_until(lambda: is_whole(gateway))
    with SteadyLoad(f"{gateway.url}/v2/models/times/infer", body(1.0), resend=resend) as load:
        time.sleep(1)
        disturb()
        wait_until(lambda: is_whole(gateway))
        time.sleep(1)
        outcomes = load.stop()
    print(f"\n{outcomes.count} answers, longest gap {outcomes.longest_gap_s:.2f} s, slowest {outcomes.slowest_s:.2f} s")
    assert outcomes.failures == []
    assert set(outcomes.answers) == {2.0}
    assert outcomes.count > 300
    return outcomes


def test_replica_that_is_stopped_is_given_up_in_seconds_and_replaced(gateway: Running) -> None:
    before = pids(replicas(gateway))
    victim = replicas(gateway)[0]

    def stop() -> None:
        victim.suspend()
        # Its heartbeats end first, then Ray Serve's patience.
        wait_until(lambda: not is_whole(gateway))
        wait_until(lambda: victim.pid not in pids(replicas(gateway)))

    outcomes = under_load(gateway, stop)
    # A deadline is 30 s.
    assert outcomes.slowest_s < 15
    assert len(before & pids(replicas(gateway))) == 1


def test_kill_9_of_ray_serves_controller_is_noticed_by_nobody(gateway: Running) -> None:
    before = pids(replicas(gateway))
    [controller] = gateway.ray_processes("ray::ServeController")

    def kill() -> None:
        controller.kill()
        controller.wait(10)
        wait_until(lambda: pids(gateway.ray_processes("ray::ServeController")) - {controller.pid} != set())

    under_load(gateway, kill)
    assert pids(replicas(gateway)) == before


def test_controller_that_is_stopped_for_a_while_is_noticed_by_nobody(gateway: Running) -> None:
    [controller] = gateway.serve_processes("onegate-controller", "Controller")

    def stop() -> None:
        controller.suspend()
        time.sleep(6)
        controller.resume()

    under_load(gateway, stop)


def test_kill_9_of_one_gateway_of_two_cuts_its_own_connections_only(gateway: Running) -> None:
    victim = gateways(gateway)[0]
    refused: list[str] = []
    ended = threading.Event()

    def knock() -> None:
        """New connections, all the time: the port never stops answering."""
        while not ended.is_set():
            try:
                assert get(f"{gateway.url}/v2/health/live")[0] == 200
            except ConnectionRefusedError as error:
                refused.append(repr(error))
            except OSError:
                pass  # accepted by the one that was killed, before it was
            time.sleep(0.005)

    knocking = threading.Thread(target=knock)

    def kill() -> None:
        knocking.start()
        victim.kill()
        victim.wait(10)
        back_s = wait_until(lambda: len([p for p in gateways(gateway) if p.pid != victim.pid]) == 2)
        print(f"\nthe gateway is back after {back_s:.1f} s")
        assert back_s < 10

    outcomes = under_load(gateway, kill, resend=True)
    ended.set()
    knocking.join()
    assert refused == []
    assert outcomes.cut < 200


def test_only_replica_that_is_stopped_is_replaced_within_the_deadline(tmp_path: Path) -> None:
    write_multiplier(tmp_path / "times.onnx", 2.0)
    serve = {"executor": "replicas", "deadline_ms": 55_000}
    config = {"store": "store", "models": [{"name": "times", "source": "times.onnx", "serve": serve}]}
    with running(tmp_path, config) as started:
        started.wait_until_settled()
        [victim] = replicas(started)
        with SteadyLoad(f"{started.url}/v2/models/times/infer", body(1.0), rate=15) as load:
            time.sleep(1)
            victim.suspend()
            gone_s = wait_until(lambda: victim.pid not in pids(replicas(started)))
            back_s = wait_until(lambda: started.rows("times")[0]["replicas"]["ready"] == 1)
            time.sleep(1)
            outcomes = load.stop()
        print(f"\nkilled after {gone_s:.1f} s, back {back_s:.1f} s later, longest gap {outcomes.longest_gap_s:.2f} s")
        assert outcomes.failures == []
        assert set(outcomes.answers) == {2.0}


def test_replica_whose_model_hangs_is_replaced_and_the_others_go_on(tmp_path: Path) -> None:
    write_hanging(tmp_path / "times.onnx", at=13.0)
    serve = {"executor": "replicas", "replicas": 2, "hang_timeout_s": 3, "deadline_ms": 20_000}
    config = {"store": "store", "models": [{"name": "times", "source": "times.onnx", "serve": serve}]}
    with running(tmp_path, config) as started:
        started.wait_until_settled()
        url = f"{started.url}/v2/models/times/infer"
        before = pids(replicas(started))
        with SteadyLoad(url, body(1.0), rate=50) as load:
            time.sleep(1)
            begin = time.monotonic()
            status, answer = get(url, body(13.0))
            told_s = time.monotonic() - begin
            back_s = wait_until(lambda: len(pids(replicas(started)) - before) >= 1 and started.rows("times") != [])
            wait_until(lambda: started.rows("times")[0]["replicas"]["ready"] == 2)
            time.sleep(1)
            outcomes = load.stop()
        told = json.loads(answer)["error"]
        print(f"\ntold after {told_s:.1f} s, longest gap {outcomes.longest_gap_s:.2f} s, back {back_s:.1f} s later")
        assert status == 500
        assert told.startswith("model 'times' version 1 has run one batch for ")
        assert told_s < 15
        assert outcomes.failures == []
        assert set(outcomes.answers) == {1.0}
