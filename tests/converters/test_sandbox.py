"""Each source here is a skops file that calls something when it is loaded, and is trusted to do so: the code runs for
real, in the child."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from converters.base import ConversionOptions
from converters.pipeline import ConversionRequest, Converted
from converters.sandbox import PACKAGE_ROOT, SandboxLimits, run_in_sandbox
from model_store.errors import ConversionError, SourceError


def run(source: Path, framework: str = "sklearn", limits: SandboxLimits | None = None) -> Converted:
    workdir = source.parent / "work"
    workdir.mkdir()
    options = ConversionOptions(trust=True)
    request = ConversionRequest(framework=framework, source=str(source), workdir=str(workdir), options=options)
    return run_in_sandbox(request, limits=limits or SandboxLimits())


@pytest.fixture(autouse=True)
def no_child_left() -> Iterator[None]:
    yield
    assert psutil.Process().children(recursive=True) == []


def test_an_honest_source_is_converted(linear_onnx: Path) -> None:
    converted = run(linear_onnx, "onnx")
    assert list(converted.files) == ["model.onnx"]
    assert converted.parity.passed


def test_a_source_that_never_ends_is_ended(tmp_path: Path, call_on_load: Callable[..., Path]) -> None:
    # Backtracking holds the interpreter: no thread of the child could stop it.
    source = call_on_load(tmp_path / "m.skops", "re", "fullmatch", "(a+)+b", "a" * 60)
    start = time.monotonic()
    with pytest.raises(ConversionError, match="took longer than 6 s while converting from sklearn; it was ended"):
        run(source, limits=SandboxLimits(timeout_s=6))
    assert 6 <= time.monotonic() - start < 9


def test_a_source_that_eats_memory_is_ended(tmp_path: Path, call_on_load: Callable[..., Path]) -> None:
    source = call_on_load(tmp_path / "m.skops", "numpy", "ones", 500_000_000)
    start = time.monotonic()
    with pytest.raises(ConversionError, match="MiB of memory while converting from sklearn; the limit is 1024 MiB"):
        run(source, limits=SandboxLimits(memory_bytes=1 << 30))
    assert time.monotonic() - start < 30


def test_a_source_that_exits_is_a_failed_conversion(tmp_path: Path, call_on_load: Callable[..., Path]) -> None:
    source = call_on_load(tmp_path / "m.skops", "posix", "_exit", 7)
    with pytest.raises(
        ConversionError, match="the converter process ended with exit code 7 while converting from sklearn"
    ):
        run(source)


def test_a_source_that_crashes_is_a_failed_conversion(tmp_path: Path, call_on_load: Callable[..., Path]) -> None:
    source = call_on_load(tmp_path / "m.skops", "ctypes", "string_at", 0)
    with pytest.raises(ConversionError, match=r"the converter process ended with signal 11 \(SIGSEGV\) while"):
        run(source)


def test_last_words_of_a_crash_are_kept(tmp_path: Path, call_on_load: Callable[..., Path]) -> None:
    source = call_on_load(tmp_path / "m.skops", "posix", "system", "echo it hurts; kill -9 $PPID")
    with pytest.raises(ConversionError, match=r"signal 9 \(SIGKILL\) .*; its last words: it hurts"):
        run(source)


def test_the_environment_holds_no_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call_on_load: Callable[..., Path]
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setenv("PYTHONSTARTUP", "/nowhere")
    source = call_on_load(tmp_path / "m.skops", "posix", "system", f"env > {tmp_path}/seen")
    with pytest.raises(SourceError, match=r"holds an object of type builtins\.int"):
        run(source)
    seen = dict(line.split("=", 1) for line in (tmp_path / "seen").read_text().splitlines())
    assert "hunter2" not in seen.values()
    assert seen["HOME"] == seen["TMPDIR"] == str(tmp_path / "work")
    assert seen["CUDA_VISIBLE_DEVICES"] == ""
    allowed = {
        "PATH", "HOME", "TMPDIR", "LANG", "CUDA_VISIBLE_DEVICES", "TF_CPP_MIN_LOG_LEVEL", "KERAS_BACKEND",
        "PYTHONDONTWRITEBYTECODE", "ORT_DISABLE_TELEMETRY", "PYTHONUSERBASE", "LD_LIBRARY_PATH", "OMP_NUM_THREADS",
        "PWD", "OLDPWD", "SHLVL", "_",
    }  # fmt: skip
    assert {name for name in seen if not name.startswith("KMP_")} <= allowed


def test_errors_come_back_as_their_own_kind(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"\x08\x09\x12\x03abc\x3a\xff")
    with pytest.raises(SourceError, match=r"source 'm\.onnx' is cut off or damaged"):
        run(tmp_path / "m.onnx", "onnx")


def test_modules_of_the_current_folder_are_not_met(
    tmp_path: Path, linear_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    for name in ("serve", "ray", "onnx", "random", "converters", "model_store"):
        (mine / f"{name}.py").write_text("raise SystemExit('the wrong module')")
    monkeypatch.chdir(mine)
    assert run(linear_onnx, "onnx").parity.passed


def test_the_child_ends_with_its_parent(tmp_path: Path, call_on_load: Callable[..., Path]) -> None:
    source = call_on_load(tmp_path / "m.skops", "time", "sleep", 120)
    (tmp_path / "work").mkdir()
    code = (
        "import sys; from converters.base import ConversionOptions; from converters.pipeline import ConversionRequest\n"
        "from converters.sandbox import run_in_sandbox\n"
        "run_in_sandbox(ConversionRequest(framework='sklearn', source=sys.argv[1], workdir=sys.argv[2],"
        " options=ConversionOptions(trust=True)))"
    )
    command = [sys.executable, "-c", code, str(source), str(tmp_path / "work")]
    with subprocess.Popen(command, cwd=PACKAGE_ROOT) as parent:
        child = _wait_for_child(parent.pid)
        os.kill(parent.pid, signal.SIGKILL)
    assert child.wait(timeout=10) is None or not child.is_running()


def _wait_for_child(pid: int) -> psutil.Process:
    for _ in range(200):
        children = psutil.Process(pid).children()
        # It has read its request, and so watches its parent, once it has loaded the framework.
        if children and any("sklearn" in each.path for each in children[0].memory_maps()):
            return children[0]
        time.sleep(0.05)
    raise AssertionError("the child did not start within ten seconds")
