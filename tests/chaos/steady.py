"""`python -m tests.chaos.steady`: every change and every kill, one after the other, under a steady load.

Ends when all requests are answered, with status 1 when one failed or was answered wrongly.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click

from tests.chaos.load import RecordedLoad
from tests.chaos.recorder import Recorder
from tests.chaos.report import tell
from tests.chaos.world import World
from tests.e2e.running import running

SERVE = {
    # A fraction, so that two cores hold the replicas of two versions.
    "apart": {"executor": "replicas", "replicas": 2, "cpus": 0.5},
    "inline": {"executor": "inline"},
    "guest": {"executor": "inline"},
}
SHARES = {"apart": 12, "inline": 12, "guest": 1}
"""Of the requests. The guest is retired and brought back."""
PAUSE_S = 2.0

Step = tuple[str, Callable[[World], object]]

STEPS: tuple[Step, ...] = (
    ("new version of apart", lambda world: world.publish("apart")),
    ("new version of inline", lambda world: world.publish("inline")),
    ("canary of 10% of apart", lambda world: world.canary("apart", 10)),
    ("canary of 10% of inline", lambda world: world.canary("inline", 10)),
    ("canary of apart at 50%", lambda world: world.shift("apart", 50)),
    ("canary of inline at 50%", lambda world: world.shift("inline", 50)),
    ("rollback of apart", lambda world: world.rollback("apart")),
    ("rollback of inline", lambda world: world.rollback("inline")),
    ("other batching for apart", lambda world: world.retune("apart", batching={"max_queue": 2048})),
    ("guest retired", lambda world: world.retire("guest")),
    ("a replica of apart killed", lambda world: world.kill_replica("apart")),
    ("onegate's controller killed", lambda world: world.kill_controller()),
    ("new version of apart after that", lambda world: world.publish("apart")),
    ("Ray Serve's controller killed", lambda world: world.kill_serve_controller()),
    ("guest brought back", lambda world: world.bring_back("guest")),
    ("both controllers killed", lambda world: (world.kill_serve_controller(), world.kill_controller())),
    ("a replica of apart killed after that", lambda world: world.kill_replica("apart")),
    ("new version of inline after that", lambda world: world.publish("inline")),
)


@click.command()
@click.option("--requests", default=200_000, show_default=True, help="How many are sent.")
@click.option("--rate", default=500, show_default=True, help="Requests a second, over all models.")
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON.")
def main(requests: int, rate: int, as_json: bool) -> None:
    """Changes and kills under a steady load. The steps are repeated until the requests are sent.

    Example: python -m tests.chaos.steady --requests 20000
    """
    recorder = Recorder()
    with tempfile.TemporaryDirectory(prefix="og-") as folder:
        world = World(Path(folder), recorder, SERVE)
        with running(Path(folder), world.config()) as gateway:
            world.gateway = gateway
            gateway.wait_until_settled()
            world.until_whole()
            rates = {model: rate * share // sum(SHARES.values()) for model, share in SHARES.items()}
            with RecordedLoad(gateway.url, rates, recorder, limit=requests) as load:
                steps = _run_steps(world, recorder, load)
            world.until_whole()
    if not tell("steady load", recorder, as_json=as_json, rate=rate, steps_done=steps):
        sys.exit(1)


def _run_steps(world: World, recorder: Recorder, load: RecordedLoad) -> int:
    done = 0
    while True:
        for name, step in STEPS:
            if load.wait(PAUSE_S):
                return done
            recorder.note_event(name)
            begin = time.monotonic()
            step(world)
            click.echo(f"{recorder.count:>8,} requests: {name} ({time.monotonic() - begin:.1f} s)", err=True)
            done += 1
        world.until_whole()


if __name__ == "__main__":
    main()
