"""Generations and records of signatures, written by processes that are killed, and by several at once."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from model_store import generations
from model_store.signing import sign, verify
from model_store.store import Store
from tests.model_store import applying
from tests.model_store.publishing import manifest, write_model
from tests.model_store.test_signing import KEY, PUBLIC


def start(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, applying.__file__, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(Path(applying.__file__).parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_applier_killed_at_any_write_leaves_a_whole_generation_or_none(tmp_path: Path) -> None:
    absent = present = 0
    for die_at in range(1, 200):
        store = Store.open(str(tmp_path / str(die_at)))
        generations.append(store, 1, {"applier": "before", "models": []})
        applier = start(store.url, "killed", 1, die_at)
        errors = applier.communicate(timeout=60)[1]
        if applier.returncode == 0:
            break
        assert applier.returncode == -signal.SIGKILL, errors
        newest = generations.newest(store)
        assert newest is not None
        assert (newest.number, newest.config["applier"]) in [(1, "before"), (2, "killed")]
        absent, present = absent + (newest.number == 1), present + (newest.number == 2)

        assert generations.append(store, newest.number + 1, {"models": []}).number == newest.number + 1
        assert [path.parent.name for path in Path(store.url).rglob("*") if path.is_file()].count("generations") == (
            newest.number + 1
        )
    assert absent > 3
    assert present > 1


def test_appliers_at_once_never_write_one_number_twice(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path / "store"))
    appliers = {name: start(store.url, name, 20) for name in ("a", "b")}
    won = {name: applier.communicate(timeout=60)[0].split() for name, applier in appliers.items()}

    assert [applier.returncode for applier in appliers.values()] == [0, 0]
    assert sorted(int(number) for numbers in won.values() for number in numbers) == list(range(1, 41))
    for name, numbers in won.items():
        assert {generations.read(store, int(number)).config["applier"] for number in numbers} == {name}


def test_signer_killed_at_any_write_leaves_a_record_that_holds_or_none(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path / "store"))
    killed = 0
    for number in range(1, 200):
        version = store.publish(manifest(key=f"key-{number}"), write_model(tmp_path / "made"))
        signer = start(store.url, "--sign", number, number)
        errors = signer.communicate(timeout=60)[1]
        if signer.returncode == 0:
            break
        assert signer.returncode == -signal.SIGKILL, errors
        killed += 1
        records = store.filesystem.names(f"models/digits/{number}/signatures")
        if records:
            verify(store, version, [PUBLIC])
        sign(store, "digits", number, KEY)
        verify(store, version, [PUBLIC])
    assert killed > 5
