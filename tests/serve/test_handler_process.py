"""The process of a handler: its output, its folder, what it sees, and its end with its replica."""

from __future__ import annotations

import ast
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from model_store.errors import ModelNotReady
from serve.runtimes.handler import HandlerRuntime
from serve.runtimes.handler_folder import PREFIX, HandlerFolder, remove_abandoned
from tests.serve.handler_archives import OBEDIENT, Start, ask, folder_of, handler_manifest, said, started, starting
from tests.serve.waiting import before_long

ROOT = Path(__file__).parents[2]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with starting(tmp_path) as start:
        yield start


def test_what_a_handler_prints_is_logged_and_disturbs_nothing(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "onegate")
    runtime = start()
    code = b"""
print("to you")
print("careful", file=sys.stderr)
import logging; logging.getLogger("mine").info("from a logger")
os.write(1, b"y" * 10000 + b"\\nraw\\n")
print(sys.stdin.read() == "")
"""
    assert ask(runtime, code)[0].status == 200
    runtime.close()
    lines = {(record.levelname, record.getMessage()) for record in caplog.records}
    assert lines >= {
        ("INFO", "echo v3: to you"),
        ("WARNING", "echo v3: careful"),
        ("INFO", "echo v3: from a logger"),
        ("INFO", "echo v3: " + "y" * 4096),
        ("INFO", "echo v3: raw"),
        ("INFO", "echo v3: True"),
    }


def test_a_handler_sees_no_secrets_and_none_of_the_gateways_modules(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    code = """
        import importlib.util, os, sys
        def handle(data, context):
            if data is None:
                return None
            folders = [path for path in sys.path if os.path.exists(os.path.join(path, "onegate_handler"))]
            return [["AWS_SECRET_ACCESS_KEY" in os.environ, len(folders), os.environ["OMP_NUM_THREADS"],
                     os.path.dirname(context.system_properties["model_dir"]) == os.environ["HOME"]]]
    """
    assert json.loads(ask(start(code), b"")[0].body) == [False, 1, "1", True]


@pytest.mark.parametrize("name", ["mms", "ts", "model_service", "onegate_handler"])
def test_the_modules_for_handlers_exist_in_their_process_only(start: Start, name: str) -> None:
    code = [sys.executable, "-c", f"import serve, importlib.util; print(importlib.util.find_spec({name!r}))"]
    done = subprocess.run(code, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "None\n"
    assert ask(start(), f"import {name}".encode())[0].status == 200


def test_what_runs_in_the_handlers_process_is_older_pythons_language_too() -> None:
    files = sorted((ROOT / "serve/handler_child").rglob("*.py"))
    assert len(files) > 40
    for file in files:
        ast.parse(file.read_text(), str(file), feature_version=(3, 7))


def test_nothing_is_left_after_close(start: Start) -> None:
    runtime = start()
    code = b"subprocess.Popen(['sleep', '60'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)"
    ask(runtime, code)
    processes = psutil.Process().children(recursive=True)
    assert len(processes) >= 2
    home = Path(psutil.Process(runtime.pid).environ()["HOME"])
    runtime.close()
    assert before_long(lambda: not any(process.is_running() for process in processes))
    assert not home.exists()


def test_closing_ends_a_batch_that_runs(start: Start, tmp_path: Path) -> None:
    runtime = start()
    with ThreadPoolExecutor(1) as pool:
        begun = tmp_path / "begun"
        running = pool.submit(said, runtime, f"open({str(begun)!r}, 'w').close(); time.sleep(60)".encode())
        assert before_long(begun.exists)
        runtime.close()
        assert running.result(timeout=10)[0] in (500, 503, 507)
    assert runtime.pid is None


def test_a_runtime_that_nobody_refers_to_ends_its_process(tmp_path: Path) -> None:
    runtime = started(tmp_path, OBEDIENT)
    pid = runtime.pid
    assert pid is not None
    del runtime
    assert not psutil.pid_exists(pid)


def test_a_handler_ends_with_its_replica_even_while_it_works(tmp_path: Path) -> None:
    folder_of(tmp_path / "archive", {"service.py": OBEDIENT})
    busy = tmp_path / "busy"
    command = [sys.executable, "-c", REPLICA, str(tmp_path / "archive"), str(busy)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as replica:
        assert replica.stdout is not None
        handler = psutil.Process(int(replica.stdout.readline()))
        assert before_long(busy.exists)
        os.kill(replica.pid, signal.SIGKILL)
        replica.wait()
    assert before_long(lambda: not handler.is_running())
    abandoned = Path((tmp_path / "home").read_text())
    assert abandoned.exists()
    remove_abandoned()
    assert not abandoned.exists()


REPLICA = """
import sys, threading
from pathlib import Path
from serve.runtimes.handler import HandlerRuntime
from tests.serve.handler_archives import ask, handler_manifest

runtime = HandlerRuntime(Path(sys.argv[1]), handler_manifest(), threads=1)
(Path(sys.argv[1]).parent / "home").write_text(__import__("psutil").Process(runtime.pid).environ()["HOME"])
# A match that takes hours and holds the interpreter all the while.
code = f"import re; open({sys.argv[2]!r}, 'w').close(); re.match('(a+)+$', 'a' * 40 + 'b')".encode()
threading.Thread(target=ask, args=(runtime, code), daemon=True).start()
print(runtime.pid, flush=True)
sys.stdin.read()
"""


def test_the_folder_of_a_living_handler_is_not_tidied_away(tmp_path: Path) -> None:
    folder_of(tmp_path, {"a.txt": "a"})
    folder = HandlerFolder(tmp_path)
    remove_abandoned()
    assert (folder.model / "a.txt").read_text() == "a"
    assert folder.path.name.startswith(PREFIX)
    assert folder.path.parent == Path(tempfile.gettempdir())
    folder.close()
    assert not folder.path.exists()


def test_a_folder_of_the_same_name_that_is_no_handlers_is_passed_over(tmp_path: Path) -> None:
    foreign = [Path(tempfile.mkdtemp(prefix=PREFIX)) for _ in range(2)]
    os.mkfifo(foreign[0] / "lock")
    (foreign[1] / "lock").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").touch()
    try:
        remove_abandoned()
        assert [folder.exists() for folder in foreign] == [True, True]
    finally:
        for folder in foreign:
            shutil.rmtree(folder)


def test_files_that_cant_be_copied_are_told_and_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (folder_of(tmp_path / "archive", {"a.txt": "a"}) / "b.txt").symlink_to("gone")
    with pytest.raises(ModelNotReady, match=r"^the handler's files can't be copied to /.*/model: .*No such file"):
        HandlerFolder(tmp_path / "archive")
    assert list((tmp_path / "tmp").iterdir()) == []


def test_files_of_the_archive_do_not_hide_modules_that_its_process_needs(tmp_path: Path) -> None:
    code = """
        import json, struct
        def handle(data, context):
            return None if data is None else [json.dumps(struct.calcsize(">I"))]
    """
    hiding = dict.fromkeys(("struct.py", "json.py", "logging.py", "socket.py"), "raise OSError")
    runtime = HandlerRuntime(folder_of(tmp_path, {"service.py": code, **hiding}), handler_manifest(), threads=1)
    assert ask(runtime, b"")[0].body == b"4"
    runtime.close()


def test_what_a_handler_writes_stays_in_its_own_copy(start: Start, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "store", {"service.py": OBEDIENT, "notes.txt": "old"})
    (folder / "notes.txt").chmod(0o444)
    runtime = HandlerRuntime(folder, handler_manifest(), threads=1)
    assert (
        ask(runtime, b"open('notes.txt', 'r+').write('new'); assert open('notes.txt').read() == 'new'")[0].status == 200
    )
    runtime.close()
    assert (folder / "notes.txt").read_text() == "old"
