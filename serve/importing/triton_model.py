"""What a `config.pbtxt` says of one model, as keys of onegate's config."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from model_store.manifest import DATATYPES as SERVED_DATATYPES
from serve.importing.base import Notes, without_empty
from serve.importing.limits import LARGEST_BATCH, LARGEST_QUEUE, LONGEST_DELAY_MS, MOST_REPLICAS, deadline_after
from serve.importing.text_format import Message
from serve.importing.triton_keys import DATATYPES

NAMED_BY_CONFIG = ("pytorch", "fil")
"""Backends whose models carry no names of inputs and outputs, so that `config.pbtxt` gives them."""
CACHE_MIB = 64

_POSITION = re.compile(r".*__([0-9]+)")


def inputs(config: Message, backend: str, notes: Notes) -> dict[str, Any]:
    """`inputs` for models that carry none, in the order that they take them: `NAME__0`, `NAME__1`, or as listed."""
    if backend not in NAMED_BY_CONFIG:
        return {}
    for output in config.messages("output"):
        notes.add(
            f"output {output.text('name')!r}",
            "the model carries no names of outputs: `onegate status` and the metadata say what they are called here",
        )
    listed = config.messages("input")
    positions = [_POSITION.fullmatch(each.text("name")) for each in listed]
    if all(positions):
        listed = [each for _, each in sorted(zip(positions, listed, strict=True), key=lambda pair: _index(pair[0]))]
    specs = [_input(each, batched=config.number("max_batch_size") > 0, notes=notes) for each in listed]
    if not specs:
        notes.add("input", "not given, and the model carries no shapes: say `inputs` for this model")
    if any(spec is None for spec in specs):
        return {}
    return without_empty({"inputs": specs})


def _index(match: re.Match[str] | None) -> int:
    return int(match[1]) if match else 0


def _input(message: Message, *, batched: bool, notes: Notes) -> dict[str, Any] | None:
    name, datatype = message.text("name"), _datatype(message)
    # What the model itself sees is the reshaped one.
    dims = (message.message("reshape") if "reshape" in message else message).numbers(
        "shape" if "reshape" in message else "dims"
    )
    shape = [-1, *dims] if batched else dims
    if datatype not in SERVED_DATATYPES or not name or any(size == 0 or size < -1 for size in shape):
        notes.add(f"input {name!r}", f"no input of datatype {datatype} and shape {shape} can be declared")
        return None
    return {"name": name, "datatype": datatype, "shape": shape}


def _datatype(message: Message) -> str:
    value = (message.fields.get("data_type") or ["TYPE_INVALID"])[-1]
    if isinstance(value, int) and 0 <= value < len(DATATYPES):
        return DATATYPES[value]
    name = str(value).removeprefix("TYPE_")
    return "BYTES" if name == "STRING" else name


def labels(folder: Path, config: Message, notes: Notes) -> dict[str, Any]:
    """`labels`: the file of the first output that has one."""
    files = [name for output in config.messages("output") if (name := output.text("label_filename"))]
    for name in files[1:]:
        notes.add("output.label_filename", f"a model has the labels of one output; {name!r} is left out")
    if not files:
        return {}
    if not (folder / files[0]).is_file():
        notes.add("output.label_filename", f"{files[0]!r} is not in the model's folder")
        return {}
    return {"labels": str(folder / files[0])}


def serve_section(config: Message, notes: Notes) -> dict[str, Any]:
    """`serve`: batching, deadline, replicas, cache."""
    queue = config.message("dynamic_batching").message("default_queue_policy")
    delay_ms = _delay_ms(config, notes)
    serve = {
        "replicas": _replicas(config, notes),
        "batching": without_empty(
            {
                "max_batch_size": notes.at_most("max_batch_size", config.number("max_batch_size"), LARGEST_BATCH)
                or None,
                "max_delay_ms": delay_ms,
                "preferred_batch_sizes": _preferred(config, notes),
                "max_queue": notes.at_most("max_queue_size", queue.number("max_queue_size"), LARGEST_QUEUE) or None,
            }
        ),
        "deadline_ms": _deadline_ms(queue, delay_ms or 0, notes),
        "cache_mib": _cache(config, notes),
    }
    return without_empty({"serve": without_empty(serve)})


def _delay_ms(config: Message, notes: Notes) -> float | None:
    key = "max_queue_delay_microseconds"
    micros = config.message("dynamic_batching").number(key)
    if not micros:
        return None
    return notes.at_most(f"dynamic_batching.{key}", micros, LONGEST_DELAY_MS * 1000) / 1000


def _preferred(config: Message, notes: Notes) -> list[int]:
    key = "preferred_batch_size"
    sizes = sorted(set(config.message("dynamic_batching").numbers(key)))
    return [notes.at_most(f"dynamic_batching.{key}", size, LARGEST_BATCH) for size in sizes if size > 0]


def _deadline_ms(queue: Message, delay_ms: float, notes: Notes) -> int | None:
    key = "dynamic_batching.default_queue_policy"
    deadline_ms = math.ceil(queue.number("default_timeout_microseconds") / 1000)
    if not deadline_ms:
        return None
    if queue.text("timeout_action", "REJECT") != "REJECT":
        notes.add(f"{key}.timeout_action", "a request past its deadline is always refused; its timeout is left out")
        return None
    return deadline_after(deadline_ms, delay_ms, f"{key}.default_timeout_microseconds", notes)


def _replicas(config: Message, notes: Notes) -> int | None:
    total = 0
    for group in config.messages("instance_group"):
        kind = group.text("kind", "KIND_AUTO")
        if kind == "KIND_GPU":
            notes.add("instance_group.kind", "models run on CPUs; there is no key for GPUs")
        total += (group.number("count") or 1) * (len(group.numbers("gpus")) or 1)
    return notes.at_most("instance_group.count", total, MOST_REPLICAS) if total > 1 else None


def _cache(config: Message, notes: Notes) -> int | None:
    if not config.message("response_cache").flag("enable"):
        return None
    notes.add("response_cache.enable", f"Triton's command line says how large the cache is; {CACHE_MIB} MiB are taken")
    return CACHE_MIB
