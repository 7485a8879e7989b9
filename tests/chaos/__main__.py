"""`python -m tests.chaos`: ten minutes of random changes, kills and stalls, in an order that a seed gives.

The store is on an S3 server of this process, the way to which is spoilt now and then.
"""

from __future__ import annotations

import random
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
from tests.model_store.s3 import s3_way

SERVE = {
    # A fraction, so that two cores hold the replicas of all versions that are there at once.
    "apart": {"executor": "replicas", "replicas": 2, "cpus": 0.25, "batching": {"max_batch_size": 64}},
    "inline": {"executor": "inline"},
    "guest": {"executor": "replicas", "cpus": 0.25},
}
PAUSE_S = (0.2, 6.0)
PERCENTS = (1, 10, 25, 50, 90)

Deed = Callable[[World, random.Random], None]


def _either(chance: random.Random) -> str:
    return chance.choice(("apart", "inline"))


def _come_or_go(world: World, chance: random.Random) -> None:
    if "guest" in world.wanted:
        world.retire("guest")
    else:
        world.bring_back("guest")


DEEDS: dict[str, tuple[int, Deed]] = {
    "new version": (4, lambda world, chance: world.publish(_either(chance))),
    "canary": (4, lambda world, chance: world.shift(_either(chance), chance.choice(PERCENTS))),
    "rollback": (3, lambda world, chance: world.rollback(_either(chance))),
    "other batching": (
        2,
        lambda world, chance: world.retune("apart", batching={"max_batch_size": chance.choice((1, 8, 32, 64))}),
    ),
    "other number of replicas": (2, lambda world, chance: world.retune("apart", replicas=chance.choice((1, 2, 3)))),
    "guest comes or goes": (2, _come_or_go),
    "replica killed": (3, lambda world, chance: world.kill_replica("apart")),
    "replica hangs": (1, lambda world, chance: world.hang_replica("apart", chance.uniform(0.5, 8.0))),
    "controller killed": (2, lambda world, chance: world.kill_controller()),
    "Ray Serve's controller killed": (1, lambda world, chance: world.kill_serve_controller()),
    "store slow": (1, lambda world, chance: world.spoil_store("slow", chance.uniform(2.0, 10.0))),
    "store silent": (1, lambda world, chance: world.spoil_store("silent", chance.uniform(1.0, 5.0))),
    "store away": (1, lambda world, chance: world.spoil_store("away", chance.uniform(1.0, 5.0))),
}
"""Name -> how often it is drawn, and what it does."""


@click.command()
@click.option("--seconds", default=600.0, show_default=True, help="How long.")
@click.option("--rate", default=300, show_default=True, help="Requests a second, over all models.")
@click.option("--seed", default=1, show_default=True, help="Gives the order of what is done.")
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON.")
def main(seconds: float, rate: int, seed: int, as_json: bool) -> None:
    """Random changes, kills and stalls under load; every answer is checked.

    Example: python -m tests.chaos --seconds 60 --seed 7
    """
    recorder, chance = Recorder(), random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="og-") as folder, s3_way() as way:
        world = World(Path(folder), recorder, SERVE, way)
        with running(Path(folder), world.config()) as gateway:
            world.gateway = gateway
            gateway.wait_until_settled()
            world.until_whole()
            rates = dict.fromkeys(SERVE, rate // len(SERVE))
            with RecordedLoad(gateway.url, rates, recorder, limit=int(seconds * rate * 2)):
                deeds = _do_deeds(world, recorder, chance, seconds)
            world.until_whole()
    if not tell("chaos", recorder, as_json=as_json, seed=seed, deeds=deeds):
        sys.exit(1)


def _do_deeds(world: World, recorder: Recorder, chance: random.Random, seconds: float) -> int:
    names, weights = list(DEEDS), [weight for weight, _ in DEEDS.values()]
    end, done = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        [name] = chance.choices(names, weights)
        recorder.note_event(name)
        begin = time.monotonic()
        DEEDS[name][1](world, chance)
        click.echo(f"{recorder.count:>8,} requests: {name} ({time.monotonic() - begin:.1f} s)", err=True)
        done += 1
        time.sleep(chance.uniform(*PAUSE_S))
    return done


if __name__ == "__main__":
    main()
