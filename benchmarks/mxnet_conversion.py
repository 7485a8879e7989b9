"""`python -m benchmarks.mxnet_conversion`: how long does the translation of an MXNet model take, and how much memory?

Each model is converted in a fresh process, without the parity gate (`benchmarks.conversion` times that). Memory is the
process's peak beyond what it takes to import the converter, as a multiple of the file of parameters.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from tests.sources.mxnet_writing import alexnet, resnet18

NETS: dict[str, Callable[[Path], Path]] = {"resnet18": resnet18, "alexnet": alexnet}
MOST_S, MOST_TIMES = 5.0, 3.0
"""The bars: seconds for a conversion, and memory over the file's size."""

_CHILD = r"""
import json, re, sys, time
from pathlib import Path
import onnx.shape_inference, onnx.reference, onnxruntime
from converters.base import ConversionOptions
from converters.mxnet.converter import MXNetConverter
from converters.mxnet.registry import operators
from converters.mxnet.reference.registry import numpy_operators
from model_store.manifest import TensorSpec
operators(), numpy_operators()
def memory(kind):
    # Not getrusage: its peak is inherited from the parent.
    return int(re.search(kind + r":\s*(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
before, start = memory("VmRSS"), time.perf_counter()
options = ConversionOptions(inputs=(TensorSpec("data", "FP32", (-1, 3, 224, 224)),))
MXNetConverter().convert(Path(sys.argv[1]), options, Path(sys.argv[2]))
print(json.dumps({"seconds": time.perf_counter() - start, "bytes": memory("VmHWM") - before, "imports": before}))
"""


@click.command()
@click.option("--rounds", type=click.IntRange(1, 20), default=3, show_default=True, help="Conversions of each model.")
@click.option(
    "--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Where the result is written."
)
def command(rounds: int, json_path: Path | None) -> None:
    """Time the translation of MXNet models and measure its memory.

    \b
    Example:
      python -m benchmarks.mxnet_conversion --rounds 3
    """
    table = Table(
        "model",
        "file, MiB",
        f"seconds (bar {MOST_S:g})",
        "peak RSS over imports, MiB",
        f"times the file (bar {MOST_TIMES:g})",
    )
    rows = []
    for name, build in NETS.items():
        with tempfile.TemporaryDirectory(prefix="og-mxnet-") as folder:
            params = build(Path(folder))
            runs = [_convert(params, Path(folder) / f"work{number}") for number in range(rounds)]
            size = params.stat().st_size
        row = {
            "model": name,
            "file_bytes": size,
            "seconds": statistics.median(run["seconds"] for run in runs),
            "peak_bytes": max(run["bytes"] for run in runs),
            "imports_bytes": max(run["imports"] for run in runs),
        }
        rows.append(row)
        table.add_row(
            name,
            f"{size / 2**20:.1f}",
            f"{row['seconds']:.2f}",
            f"{row['peak_bytes'] / 2**20:.1f}",
            f"{row['peak_bytes'] / size:.2f}",
        )
    Console().print(table)
    if json_path is not None:
        json_path.write_text(json.dumps(rows, indent=2) + "\n")


def _convert(params: Path, workdir: Path) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, str(params), str(workdir)], check=True, capture_output=True, text=True
    )
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


if __name__ == "__main__":
    command()
