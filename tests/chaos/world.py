"""A running gateway under test, and what can be done to it: changes as users make them, and kills.

Each says to the recorder which answers are right meanwhile and afterwards.
"""

from __future__ import annotations

import contextlib
import itertools
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from tests.chaos.recorder import ABSENT, NOT_YET, Recorder
from tests.e2e.models import write_multiplier
from tests.e2e.running import Running
from tests.model_store.s3 import BUCKET, Trouble, Way

AGAIN_S = 0.5
PATIENCE_S = 60.0
"""How long a change may take, tries while the controller is away included."""


@dataclass(frozen=True)
class Served:
    """What is wanted of a model: its factors with their traffic in percent, and settings that change no answer."""

    shares: tuple[tuple[int, int], ...]
    serve: tuple[tuple[str, Any], ...] = ()

    @property
    def factors(self) -> frozenset[float]:
        return frozenset(float(factor) for factor, percent in self.shares if percent)


class World:
    """Models by name on one gateway; `serve` says how each is run. `way` is the one to a store on S3."""

    def __init__(
        self, folder: Path, recorder: Recorder, serve: dict[str, dict[str, Any]], way: Way | None = None
    ) -> None:
        self._way = way
        self._spoilt: threading.Timer | None = None
        self._folder = folder
        self._recorder = recorder
        self._serve = serve
        self._factors = itertools.count(2)
        self._history: dict[str, list[Served]] = {}
        """What each model was served as, oldest first; the last is now."""
        self.wanted: dict[str, Served] = {}
        self.gateway: Running | None = None
        for model in serve:
            self._want(model, Served(((self._new_source(), 100),)))
            self._recorder.timeline(model).settle(self.wanted[model].factors)

    def config(self) -> dict[str, Any]:
        """The file's content."""
        models = [self._document(model, served) for model, served in self.wanted.items()]
        if self._way is None:
            return {"store": "store", "models": models}
        return {"store": f"s3://{BUCKET}/store", "store_cache": {"folder": "cache"}, "models": models}

    @property
    def running(self) -> Running:
        assert self.gateway is not None, "the gateway is started by then"
        return self.gateway

    # -- changes ---------------------------------------------------------------------------------------------------

    def publish(self, model: str) -> None:
        """A new version takes all of the traffic."""
        self._change(model, replace(self.wanted[model], shares=((self._new_source(), 100),)))

    def canary(self, model: str, percent: int) -> None:
        """A new version takes some of the traffic."""
        stable = self.wanted[model].shares[0][0]
        self._change(
            model, replace(self.wanted[model], shares=((stable, 100 - percent), (self._new_source(), percent)))
        )

    def shift(self, model: str, percent: int) -> None:
        """The newest version's traffic changes."""
        shares = self.wanted[model].shares
        if len(shares) == 1:
            self.canary(model, percent)
        else:
            (stable, _), (newest, _) = shares
            self._change(model, replace(self.wanted[model], shares=((stable, 100 - percent), (newest, percent))))

    def rollback(self, model: str) -> None:
        """The model as it was served before, by one command. The file then says so too, or the next change of it would
        bring back what was rolled back."""
        now, earlier = self.wanted[model], self._history[model]
        # Not by what was asked for: settings that say what holds anyway are no change, and no record.
        said = self._document(model, now)
        before = next((served for served in reversed(earlier) if self._document(model, served) != said), None)
        if before is None:
            return
        # One that is repeated because its answer was lost would go forward again.
        self.until_whole()
        timeline = self._recorder.timeline(model)
        timeline.allow(before.factors)
        self._recorder.note_event(f"going back to {before}; records: {self._records(model)}")
        done = self.running.command("rollback", model)
        assert done.returncode == 0, done.stderr
        self._recorder.note_event(f"went back: {done.stdout.strip()}; records: {self._records(model)}")
        self._want(model, before)
        timeline.settle(before.factors)

    def retune(self, model: str, **serve: Any) -> None:
        """Settings change that change no answer."""
        self._change(model, replace(self.wanted[model], serve=tuple(serve.items())))

    def retire(self, model: str) -> None:
        """The model is no longer served."""
        timeline = self._recorder.timeline(model)
        timeline.allow({ABSENT})
        del self.wanted[model]
        self._apply()
        self._until_absent(model)
        timeline.settle({ABSENT})

    def bring_back(self, model: str) -> None:
        """A retired model is served again."""
        served = self._history[model][-1]
        timeline = self._recorder.timeline(model)
        timeline.allow(served.factors | {NOT_YET})
        self.wanted[model] = served
        self._apply()
        timeline.settle(served.factors)

    # -- harm ------------------------------------------------------------------------------------------------------

    def kill_replica(self, model: str) -> None:
        """SIGKILL to one model replica."""
        for victim in self._replicas(model)[:1]:
            self._kill(victim)

    def hang_replica(self, model: str, seconds: float) -> None:
        """SIGSTOP to one model replica, and SIGCONT if it is there after so long."""
        for victim in self._replicas(model)[:1]:
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.suspend()
                time.sleep(seconds)
                victim.resume()

    def kill_controller(self) -> None:
        """SIGKILL to onegate's controller."""
        for victim in self.running.serve_processes("onegate-controller", "Controller"):
            self._kill(victim)

    def kill_serve_controller(self) -> None:
        """SIGKILL to Ray Serve's own controller."""
        for victim in self.running.ray_processes("ray::ServeController"):
            self._kill(victim)

    def spoil_store(self, trouble: Trouble, seconds: float) -> None:
        """The way to the store is spoilt for so long, while other things go on; what was spoilt before is mended
        first."""
        assert self._way is not None, "only a store on S3 has a way"
        self.mend_store()
        self._way.spoil(trouble)
        self._spoilt = threading.Timer(seconds, self._way.spoil, ("none",))
        self._spoilt.start()

    def mend_store(self) -> None:
        """Returns when the way to the store is as it should be."""
        if self._spoilt is not None:
            self._spoilt.join()

    # -- seeing to it ----------------------------------------------------------------------------------------------

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Waits until it holds; management may be away meanwhile."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            with contextlib.suppress(OSError, psutil.Error):
                if condition():
                    return
            time.sleep(0.1)
        raise AssertionError(f"{what}: not within {PATIENCE_S} s; state: {self.running.state()}")

    def until_whole(self) -> None:
        """Waits until the store is there and every model is served by as many replicas as are wanted."""
        self.mend_store()

        def whole() -> bool:
            rows = [row for model in self.wanted for row in self.running.rows(model)]
            return len({row["name"] for row in rows}) == len(self.wanted) and all(
                row["state"] == "READY" and row["replicas"]["ready"] == row["replicas"]["wanted"] for row in rows
            )

        self.until(whole, "all replicas")

    def _change(self, model: str, served: Served) -> None:
        timeline = self._recorder.timeline(model)
        timeline.allow(served.factors)
        self.wanted[model] = served
        self._apply()
        self._want(model, served)
        timeline.settle(served.factors)

    def _want(self, model: str, served: Served) -> None:
        self.wanted[model] = served
        self._history.setdefault(model, []).append(served)

    def _apply(self) -> None:
        running = self.running
        running.config |= {"models": self.config()["models"]}
        running.write_config()
        self._command("apply", "onegate.yaml")

    def _command(self, *words: str) -> None:
        """The command, again while management is away."""
        end = time.monotonic() + PATIENCE_S
        while True:
            done = self.running.command(*words)
            if done.returncode == 0:
                return
            if time.monotonic() > end:
                raise AssertionError(f"onegate {' '.join(words)}: {done.stderr}")
            self._recorder.note_event(f"{words[0]} again: {done.stderr.strip()[:120]}")
            time.sleep(AGAIN_S)

    def _records(self, model: str) -> str:
        """What the store says was served last, newest first."""
        return self.running.command("history", model, "--limit", "5", "--json").stdout.strip()

    def _until_absent(self, model: str) -> None:
        self.until(lambda: not self.running.rows(model), f"{model} retired")

    def _new_source(self) -> int:
        factor = next(self._factors)
        write_multiplier(self._folder / f"times-{factor}.onnx", float(factor))
        return factor

    def _document(self, model: str, served: Served) -> dict[str, Any]:
        serve = {**self._serve[model], **dict(served.serve)}
        versions = [{"source": f"times-{factor}.onnx", "traffic": percent} for factor, percent in served.shares]
        return {"name": model, "versions": versions, "serve": serve}

    def _replicas(self, model: str) -> list[psutil.Process]:
        return self.running.ray_processes(f"ray::ServeReplica:{model}-v")

    @staticmethod
    def _kill(process: psutil.Process) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)
            process.wait(10)
