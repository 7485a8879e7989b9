"""Sources that eat memory, never end, exit, or would write a file: each is a FAILED model with its reason within its
limit, while another model of the same gateway answers every request."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.load import Outcomes, SteadyLoad
from tests.e2e.models import body, write_multiplier
from tests.e2e.running import Running, running
from tests.sources.hostile import calling_skops, writing_pickle

LIMITS = {"timeout_s": 15, "memory_gib": 2}
PATIENT = {"eats": {"timeout_s": 120, "memory_gib": 2}}
"""A busy machine takes its time to hand out so much memory."""
REASONS = {
    "eats": "MiB of memory while converting from sklearn; the limit is 2048 MiB, so it was ended",
    "loops": "the conversion took longer than 15 s while converting from sklearn; it was ended",
    "exits": "the converter process ended with exit code 7",
    "pickle": "source 'writes.pkl' is a pickle: loading it runs code that it carries",
}


def hostile(folder: Path) -> dict[str, Path]:
    return {
        "eats": calling_skops(folder / "eats.skops", "numpy", "ones", 1_300_000_000),
        "loops": calling_skops(folder / "loops.skops", "re", "fullmatch", "(a+)+b", "a" * 60),
        "exits": calling_skops(folder / "exits.skops", "posix", "_exit", 7),
        "pickle": writing_pickle(folder / "writes.pkl", folder / "written"),
    }


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Outcomes]]:
    """The gateway after all of them were applied, and what a steady load on the honest model saw meanwhile."""
    folder = tmp_path_factory.mktemp("hostile")
    write_multiplier(folder / "honest.onnx", 2.0)
    models: list[dict[str, Any]] = [{"name": "honest", "source": "honest.onnx"}]
    with running(folder, {"store": "store", "models": models}) as gateway:
        gateway.wait_until_settled()
        for name, path in hostile(folder).items():
            trust = name != "pickle"
            models.append({"name": name, "source": str(path), "trust": trust, "convert": PATIENT.get(name, LIMITS)})
        gateway.write_config()
        with SteadyLoad(f"{gateway.url}/v2/models/honest/infer", body(3.0), rate=50) as load:
            applied = gateway.command("apply", "onegate.yaml")
        assert applied.returncode == 1, applied.stdout + applied.stderr
        yield gateway, load.outcomes


@pytest.mark.parametrize("name", REASONS)
def test_a_hostile_source_is_a_failed_model_with_its_reason(outcome: tuple[Running, Outcomes], name: str) -> None:
    [row] = outcome[0].rows(name)
    assert row["state"] == "FAILED"
    assert REASONS[name] in row["reason"]


def test_the_other_model_answered_every_request_meanwhile(outcome: tuple[Running, Outcomes]) -> None:
    assert outcome[1].failures == []
    assert set(outcome[1].answers) == {6.0}
    assert outcome[1].count > 200


def test_nothing_was_written(outcome: tuple[Running, Outcomes]) -> None:
    assert not (outcome[0].folder / "written").exists()
