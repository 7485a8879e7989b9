"""Dependencies point one way, and nothing loads a framework that only a converter or runtime needs."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.frameworks import FRAMEWORKS

ROOT = Path(__file__).parents[2]

FORBIDDEN = {
    "model_store": {"converters", "serve", "ray", "grpc", "httptools", "hpack"} | FRAMEWORKS,
    "converters": {"serve", "ray", "grpc", "httptools", "hpack"},
}
SERVERS = {"socket", "socketserver", "ssl", "selectors", "http", "grpc", "httptools", "hpack", "uvicorn", "ray"}
SHARED_BY_DIALECTS = {"base", "grpc_base", "raw_bodies"}
PROTOCOLS = {"torchserve": "model_server"}
"""Modules of one protocol share the first words of their names, but for these."""


def modules(package: str) -> list[Path]:
    found = sorted((ROOT / package).rglob("*.py"))
    assert found
    return found


def imported(file: Path) -> Iterator[str]:
    """Full names of all that a file imports, inside functions too: `from a import b` gives `a` and `a.b`."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from (part.value for part in node.args if isinstance(part, ast.Constant))


def top_level_imported(file: Path) -> Iterator[str]:
    """As `imported`, without what functions import when they run and what only type checkers read."""
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def top(name: str) -> str:
    return name.partition(".")[0]


@pytest.mark.parametrize("package", sorted(FORBIDDEN))
def test_no_module_imports_what_stands_above_it(package: str) -> None:
    for file in modules(package):
        wrong = {name for name in imported(file) if top(name) in FORBIDDEN[package]}
        assert wrong == set(), f"{file.relative_to(ROOT)} imports {sorted(wrong)}"


@pytest.mark.parametrize("package", ["model_store", "converters", "serve"])
def test_no_module_imports_a_framework_on_its_own_import(package: str) -> None:
    for file in modules(package):
        wrong = {name for name in top_level_imported(file) if top(name) in FRAMEWORKS}
        assert wrong == set(), f"{file.relative_to(ROOT)} imports {sorted(wrong)}"


def protocol_of(module: str, protocols: set[str]) -> str:
    """`open_inference` for `open_inference_json`: the shortest name of a module that it begins with."""
    name = min((each for each in protocols if f"{module}_".startswith(f"{each}_")), key=len)
    return next((protocol for start, protocol in PROTOCOLS.items() if name.startswith(start)), name)


def test_dialects_import_no_other_dialect() -> None:
    names = {file.stem for file in modules("serve/dialects")} | {"tensorflow"}
    for file in modules("serve/dialects"):
        if file.stem == "registry":
            continue
        own = {name.split(".")[2] for name in imported(file) if name.startswith("serve.dialects.")} & names
        wrong = {name for name in own if protocol_of(name, names) != protocol_of(file.stem, names)}
        assert wrong <= SHARED_BY_DIALECTS, f"{file.relative_to(ROOT)} imports {sorted(wrong - SHARED_BY_DIALECTS)}"


def test_dialects_know_no_socket_and_no_server() -> None:
    above = ("serve.front_doors", "serve.gateway", "serve.dispatcher", "serve.executors", "serve.batching")
    for file in modules("serve/dialects"):
        wrong = {name for name in imported(file) if top(name) in SERVERS or name.startswith(above)}
        assert wrong == set(), f"{file.relative_to(ROOT)} imports {sorted(wrong)}"


def test_dialects_take_nothing_but_the_clock_from_the_event_loop() -> None:
    for file in modules("serve/dialects"):
        used = {
            node.attr
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "asyncio"
        }
        assert used <= {"get_running_loop"}, f"{file.relative_to(ROOT)} uses {sorted(used)} of asyncio"
        assert not {name for name in imported(file) if name.startswith("asyncio.")}


def test_only_front_doors_and_what_talks_to_other_servers_import_http_and_grpc_libraries() -> None:
    allowed = (
        "serve/front_doors/",
        "serve/executors/replica",
        "serve/executors/upstream_client",
        "serve/client/grpc_channels",
    )
    found = {
        str(file.relative_to(ROOT))
        for file in modules("serve")
        if any(top(name) in {"grpc", "httptools", "hpack"} for name in imported(file))
    }
    assert found
    assert {file for file in found if not file.startswith(allowed)} == set()


def test_the_logic_of_requests_and_versions_knows_no_ray() -> None:
    for name in (
        "batching",
        "routing",
        "control/fleet",
        "dispatcher",
        "admission",
        "tensors",
        "errors",
        "control/desired",
        "inference",
    ):
        wrong = {
            found
            for found in imported(ROOT / "serve" / f"{name}.py")
            if top(found) in {"ray", "grpc", "httptools", "hpack"}
        }
        assert wrong == set(), f"serve/{name}.py imports {sorted(wrong)}"


@pytest.mark.parametrize(
    "module", ["serve", "converters", "model_store", "serve.cli", "serve.gateway", "serve.replica", "serve.controller"]
)
def test_importing_loads_no_framework(module: str) -> None:
    code = f"import sys, {module}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) & FRAMEWORKS == set()


def test_importing_the_commands_does_not_load_ray() -> None:
    # It reads its settings when it is loaded, and `up` sets some before.
    commands = ", ".join(f"serve.commands.{file.stem}" for file in modules("serve/commands") if file.stem != "__init__")
    code = f"import sys, serve.cli, {commands}; print('ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("package", ["serve", "converters", "model_store"])
def test_importing_a_package_imports_none_of_its_modules(package: str) -> None:
    code = f"import sys, {package}; print([name for name in sys.modules if name.startswith('{package}.')])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_the_client_loads_numpy_and_msgspec_and_nothing_of_the_server() -> None:
    code = "import sys, serve.client; print(*sorted(set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    foreign = {top(name) for name in loaded} - set(sys.stdlib_module_names)
    assert {"numpy", "msgspec"} <= foreign
    assert (
        foreign & {"ray", "onnx", "onnxruntime", "grpc", "google", "pydantic", "uvloop", "httptools", "click"} == set()
    )
    own = {name for name in loaded if name.startswith(("serve.", "model_store.", "converters"))}
    assert {name for name in own if not name.startswith("serve.client")} == {
        "model_store.datatypes",
        "model_store.errors",
        "model_store.manifest",
        "model_store.seal",
        "serve.access",
        "serve.access.bearer",
        "serve.errors",
        "serve.executors",
        "serve.executors.budget",
        "serve.tensors",
        "serve.tls_files",
    }
