"""`python -m tests.gpu.check`: what a GPU computes beside the CPU, and how fast, on a machine that has one.

Exits with 1 when an answer is further off than the parity gate would let it be. Without a GPU it says so, shows
nothing, and exits with 0.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import click
import msgspec
import onnxruntime

from serve.cuda import find_gpus
from serve.devices import Device, DeviceOptions, Gpu, Provider, choose_device
from serve.runtimes.onnx_providers import try_device
from tests.gpu.graphs import MODELS
from tests.gpu.measuring import RTOL, Outcome, compare


class Report(msgspec.Struct, frozen=True):
    """`skipped` says why nothing was shown. `tf32` are the outcomes with ONNX Runtime's own default, products of
    float32 in 10 bits of mantissa, for comparison only."""

    skipped: str | None
    onnxruntime: str = onnxruntime.__version__
    gpus: tuple[Gpu, ...] = ()
    cpu_threads: int = 0
    outcomes: tuple[Outcome, ...] = ()
    tf32: tuple[Outcome, ...] = ()


def check() -> Report:
    """Everything, on the first GPU that this process sees; minutes."""
    threads = len(os.sched_getaffinity(0))
    device = choose_device(DeviceOptions(gpus=1), "onnx", find_gpus, try_device)
    if device.kind != "cuda":
        return Report(device.reason)
    loose = msgspec.structs.replace(device, providers=(Provider("cuda", {"use_tf32": 1}),))
    return Report(
        None, gpus=find_gpus(), cpu_threads=threads, outcomes=_all(device, threads), tf32=_all(loose, threads)
    )


def _all(device: Device, threads: int) -> tuple[Outcome, ...]:
    return tuple(compare(model, device, threads) for model in MODELS)


def lines(report: Report) -> list[str]:
    """The report for people."""
    if report.skipped is not None:
        return [f"skipped: no CUDA device ({report.skipped})", "Nothing was shown: no model ran on a GPU."]
    told = [f"ONNX Runtime {report.onnxruntime}; CPU with {report.cpu_threads} threads; GPUs:"]
    told += [f"  {gpu.name}, {gpu.memory_bytes / 2**30:.0f} GiB" for gpu in report.gpus]
    for title, outcomes in (("as served", report.outcomes), ("with TF32, for comparison", report.tf32)):
        for each in outcomes:
            told += ["", f"{each.model}, {title}", f"  error {each.max_rel_error:.2g} of the scale; bound {RTOL:g}"]
            told += [f"  FAILED: {each.failure}"] if each.failure else []
            told += [f"  nodes: {', '.join(f'{count} on {name}' for name, count in each.nodes.items())}"]
            told += [
                f"  batch {speed.batch:4}: {speed.cpu:10.0f} rows/s on the CPU, {speed.device:10.0f} on the GPU, "
                f"x {speed.device / speed.cpu:.1f}"
                for speed in each.speeds
            ]
    return told


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Everything that was measured, for programs.")
def main(as_json: bool) -> None:
    """Compare the GPU of this machine with its CPU over several models."""
    report = check()
    text: Any = msgspec.json.format(msgspec.json.encode(report)).decode() if as_json else "\n".join(lines(report))
    click.echo(text)
    sys.exit(any(outcome.failure for outcome in report.outcomes))


if __name__ == "__main__":
    main()
