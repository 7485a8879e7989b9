"""Damaged files by the thousand: `python -m tests.converters.mxnet.fuzzing --count 20000`.

Each file is one of the recorded models with bits flipped, cut off, counts made huge, or pieces exchanged. It must be
converted or refused with an error of the project's own, within a second and 256 MB. A worker process does the work, so
that a crash is seen as such; its address space is limited, and an alarm ends what hangs.
"""

from __future__ import annotations

import argparse
import collections
import json
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from converters.base import ConversionOptions
from converters.mxnet.files import find_model
from converters.mxnet.inputs import model_inputs
from converters.mxnet.model import read_model, write_model
from converters.mxnet.registry import operators
from model_store.datatypes import DATATYPES
from model_store.errors import OnegateError
from model_store.manifest import TensorSpec
from tests.converters.mxnet.recorded import load_case, unpack

LIMIT_S = 1.0
"""Of processor time: others may have the machine meanwhile."""
LIMIT_BYTES = 256 << 20
LARGEST_BASE_BYTES = 60_000
"""Larger files would only make the mutations rarer that matter."""
_NUMBER = re.compile(rb"\d+")
_HUGE = [b"0", b"-1", b"999999999999", b"18446744073709551615", b"1e308", b"nan", b"2147483648", b"[]", b"None"]

_VALUES = [
    "0", "-1", "7", "999999999999", "-9223372036854775808", "(0, 0)", "(-1, -1, -1)", "(99999999, 99999999)", "()",
    "None", "nan", "inf", "1e30", "True", "float16", "int8", "max", "(1,)", "[0, 1, 2, 3, 4, 5, 6, 7, 8]",
]  # fmt: skip


class TooLong(BaseException):
    """The alarm: no `except Exception` may catch it."""


@dataclass(frozen=True)
class Base:
    """A sound model, and what has to be declared for it."""

    symbol: Path
    inputs: tuple[TensorSpec, ...]

    @property
    def params(self) -> Path:
        """Beside the graph."""
        return self.symbol.with_name(self.symbol.name.replace("-symbol.json", "-0000.params"))


def bases(folder: Path) -> list[Base]:
    """The recorded models that are small enough."""
    found = []
    for symbol in sorted(folder.rglob("*-symbol.json")):
        case = load_case(symbol)
        first = case.calls[0][0]
        specs = tuple(
            TensorSpec(name, DATATYPES[first[name].dtype], first[name].shape)
            for name in case.binding.inputs
            if name in first
        )
        base = Base(symbol, specs)
        if max(symbol.stat().st_size, base.params.stat().st_size) <= LARGEST_BASE_BYTES:
            found.append(base)
    return found


def mutate(data: bytes, dice: random.Random) -> bytes:
    """The bytes, damaged in one to three ways. Half of the graphs stay JSON, so that it reaches the operators."""
    if data[:1] == b"{" and dice.random() < 0.5:
        return _edit_graph(data, dice)
    for _ in range(dice.randint(1, 3)):
        data = dice.choice(_MUTATIONS)(data, dice)
    return data


def _edit_graph(data: bytes, dice: random.Random) -> bytes:
    """Attributes, operators and inputs of some nodes become others."""
    document = json.loads(data)
    nodes = [node for node in document["nodes"] if node["op"] != "null"]
    for _ in range(dice.randint(1, 3)):
        node = dice.choice(nodes)
        dice.choice((_edit_attribute, _edit_attribute, _edit_operator, _edit_inputs))(node, dice)
    return json.dumps(document).encode()


def _edit_attribute(node: dict[str, Any], dice: random.Random) -> None:
    place = next((node[key] for key in ("attrs", "attr", "param") if node.get(key)), node.setdefault("attrs", {}))
    key = dice.choice([*place, "axis", "shape", "num_outputs", "kernel"])
    if dice.random() < 0.2:
        place.pop(key, None)
    else:
        place[key] = dice.choice(_VALUES)


def _edit_operator(node: dict[str, Any], dice: random.Random) -> None:
    node["op"] = dice.choice(sorted(operators()))


def _edit_inputs(node: dict[str, Any], dice: random.Random) -> None:
    dice.shuffle(node["inputs"])
    if dice.random() < 0.5:
        node["inputs"] = node["inputs"][:-1]


def _flip(data: bytes, dice: random.Random) -> bytes:
    damaged = bytearray(data)
    for _ in range(dice.choice((1, 1, 8, 64))):
        if damaged:
            damaged[dice.randrange(len(damaged))] ^= 1 << dice.randrange(8)
    return bytes(damaged)


def _cut(data: bytes, dice: random.Random) -> bytes:
    return data[: dice.randrange(len(data) + 1)]


def _huge_word(data: bytes, dice: random.Random) -> bytes:
    """A count, dimension or flag of the binary format becomes another number."""
    size = dice.choice((4, 8))
    at = dice.randrange(max(len(data) - size, 1)) // 4 * 4
    value = dice.choice((0, 1, 2**31 - 1, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1, dice.getrandbits(64)))
    return data[:at] + (value & (2 ** (8 * size) - 1)).to_bytes(size, "little") + data[at + size :]


def _other_number(data: bytes, dice: random.Random) -> bytes:
    """A number in the text becomes another one."""
    places = list(_NUMBER.finditer(data))
    if not places:
        return _flip(data, dice)
    place = dice.choice(places)
    return data[: place.start()] + dice.choice([*_HUGE, b"%d" % dice.randrange(64)]) + data[place.end() :]


def _exchange(data: bytes, dice: random.Random) -> bytes:
    """A piece is copied over another."""
    length = dice.randrange(1, 64)
    source, target = (dice.randrange(max(len(data) - length, 1)) for _ in range(2))
    return data[:target] + data[source : source + length] + data[target + length :]


_MUTATIONS: list[Callable[[bytes, random.Random], bytes]] = [_flip, _cut, _huge_word, _other_number, _exchange]


def try_damaged(base: Base, folder: Path, dice: random.Random) -> str:
    """Converts a damaged copy; gives `converted` or the kind of error. Anything else is raised."""
    contents = {path.name: path.read_bytes() for path in (base.symbol, base.params)}
    victim = dice.choice(sorted(contents))
    contents[victim] = mutate(contents[victim], dice)
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
    try:
        _convert(folder / base.symbol.name, base.inputs)
        return "converted"
    except OnegateError as error:
        if "\n" in error.message:
            raise ValueError(f"more than one line: {error.message}") from error
        return type(error).__name__
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        for name in contents:
            (folder / name).unlink()


def _convert(symbol: Path, inputs: tuple[TensorSpec, ...]) -> None:
    parameters, binding = read_model(find_model(symbol))
    specs = model_inputs(binding, parameters, ConversionOptions(inputs=inputs))
    write_model(binding, parameters, specs)


def work(start: int, count: int) -> Iterator[dict[str, Any]]:
    """Tries `count` damaged files, the same ones for the same `start`; tells what fails, and in the end of all."""
    signal.signal(signal.SIGPROF, _raise_too_long)
    with tempfile.TemporaryDirectory(prefix="og-fuzz-") as name:
        models = bases(unpack(Path(name) / "recorded"))
        (place := Path(name) / "damaged").mkdir()
        before = psutil.Process().memory_info()
        resource.setrlimit(resource.RLIMIT_AS, (before.vms + LIMIT_BYTES, resource.RLIM_INFINITY))
        outcomes: collections.Counter[str] = collections.Counter()
        slowest = 0.0
        for seed in range(start, start + count):
            dice = random.Random(seed)
            began = time.process_time()
            try:
                outcomes[try_damaged(dice.choice(models), place, dice)] += 1
            except BaseException as error:
                outcomes["FAILED"] += 1
                yield {"seed": seed, "error": f"{type(error).__name__}: {str(error)[:300]}"}
            slowest = max(slowest, time.process_time() - began)
        # Not getrusage: its peak is inherited from the parent.
        peak = int(re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024  # type: ignore[index]
        yield {"outcomes": outcomes, "slowest_s": slowest, "grown_bytes": max(peak - before.rss, 0)}


def _raise_too_long(*_: object) -> None:
    raise TooLong(f"not done after {LIMIT_S} s of processor time")


def fuzz(start: int, count: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """What failed, and the summary; a worker that dies is a failure."""
    command = [sys.executable, "-m", __spec__.name, "--worker", "--start", str(start), "--count", str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode or not lines or "outcomes" not in lines[-1]:
        return [*lines, {"error": f"the worker ended with {done.returncode}: {done.stderr[-500:]}"}], {}
    return lines[:-1], lines[-1]


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        for line in work(arguments.start, arguments.count):
            print(json.dumps(line), flush=True)
        return 0
    failures, summary = fuzz(arguments.start, arguments.count)
    for failure in failures:
        print(failure)
    print(summary)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
