"""TorchServe and MXNet Model Server: `config.properties` with its model store, or a folder of archives."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from model_store.archive_manifest import Server
from model_store.archives import looks_like_archive
from serve.importing.base import Imported, Notes, without_empty
from serve.importing.limits import LARGEST_BODY_BYTES, LARGEST_PORT
from serve.importing.model_server_keys import KEYS
from serve.importing.model_server_models import ServerDefaults, read_models, told_whole
from serve.importing.model_server_registrations import registrations, store_archives
from serve.importing.properties import read_properties
from serve.importing.sources import located

CONFIG = "config.properties"
NAMES = {"torchserve": "TorchServe", "mms": "MXNet Model Server"}
PORTS: dict[Server, dict[str, int]] = {
    "torchserve": {"http_port": 8080, "grpc_port": 7070, "management_port": 8081},
    # MXNet Model Server speaks no gRPC: any port that is free will do.
    "mms": {"http_port": 8080, "grpc_port": 8082, "management_port": 8081},
}
_USUAL_PORTS = {"http": 80, "https": 443}
_VARIABLE = re.compile(r"\$\$[^$]+\$\$")


def detects(path: Path) -> bool:
    """Whether `path` is a `config.properties`, or a folder that holds one or archives."""
    if path.is_file():
        return path.suffix == ".properties" or looks_like_archive(path)
    return (path / CONFIG).is_file() or bool(store_archives(path))


def read(path: Path, server: Server | None = None) -> Imported:
    """The models that the server loads when it starts. Whose it is, is told from the archives where `server` is None.

    Raises `SourceError` for files that can't be read.
    """
    file = path if path.suffix == ".properties" else path / CONFIG
    notes = Notes(file.name)
    properties = _properties(file, notes) if file.is_file() else {}
    store = _store(properties, path if path.is_dir() else path.parent, notes)
    wanted = registrations(properties, store, notes, only=path if path.is_file() and path != file else None)
    models, found = read_models(wanted, _defaults(properties, notes), notes)
    server = server or found
    gateway = {"model_server": server, "model_folder": str(store), **_gateway(properties, server, notes)}
    return Imported(NAMES[server], gateway, models, notes.found)


def _properties(file: Path, notes: Notes) -> dict[str, str]:
    properties = read_properties(file, file.name)
    notes.unanswered([(key,) for key, value in properties.items() if value != ""], KEYS)
    for key in [key for key, value in properties.items() if _VARIABLE.search(value)]:
        notes.add(key, f"{properties.pop(key)!r} names an environment variable: write its value into the file")
    return properties


def _store(properties: dict[str, str], folder: Path, notes: Notes) -> Path:
    named = properties.get("model_store")
    if named is None:
        return folder
    found = located(named, folder)
    if found is None:
        notes.add("model_store", f"{named!r} is not on this machine; {str(folder)!r} is taken")
    elif found != (folder / named).resolve():
        notes.add("model_store", f"{named!r} is taken to be {str(found)!r}")
    return found or folder


def _defaults(properties: dict[str, str], notes: Notes) -> ServerDefaults:
    return ServerDefaults(
        workers=told_whole(properties, "default_workers_per_model", notes),
        response_timeout_s=told_whole(properties, "default_response_timeout", notes) or 120,
        queue=told_whole(properties, "job_queue_size", notes),
    )


def _gateway(properties: dict[str, str], server: Server, notes: Notes) -> dict[str, Any]:
    inference = _address(properties, "inference_address", notes)
    management = _address(properties, "management_address", notes)
    given = {
        "http_port": inference.port,
        "management_port": management.port,
        "grpc_port": _grpc_port(properties, notes),
    }
    ports = {**PORTS[server], **without_empty(given)}
    readable = inference.problem is None and management.problem is None
    one_address = readable and ports["http_port"] == ports["management_port"]
    _keep_apart(ports)
    for key, address, port in (
        ("inference_address", inference, ports["http_port"]),
        ("management_address", management, ports["management_port"]),
    ):
        if address.problem is not None:
            notes.add(key, f"{address.problem}; it counts as not given, and the port is {port}, as without an address")
    if management.host is not None and not _is_loopback(management.host):
        wanted = "that needs keys (`access`) and `gateway.management_host`"
        notes.add("management_address", f"{management.host} is for others too: {wanted}")
    size = told_whole(properties, "max_request_size", notes)
    return without_empty(
        {
            "host": inference.host if inference.host != "127.0.0.1" else None,
            **ports,
            "max_body_bytes": max(1024, notes.at_most("max_request_size", size, LARGEST_BODY_BYTES)) if size else None,
            "management_on_endpoint": one_address or None,
        }
    )


class _Address(NamedTuple):
    """An address of the file, all None where it names none; `problem` says why it can't be read."""

    host: str | None = None
    port: int | None = None
    problem: str | None = None


def _address(properties: dict[str, str], key: str, notes: Notes) -> _Address:
    text = properties.get(key)
    if text is None:
        return _Address()
    try:
        address = urlsplit(text)
        host = address.hostname
    except ValueError:
        address, host = urlsplit(""), None
    if address.scheme not in _USUAL_PORTS or host is None:
        return _Address(problem=f"{text!r} is no HTTP address")
    try:
        port = address.port
    except ValueError:
        return _Address(problem=f"the port of {text!r} is no number from 1 to {LARGEST_PORT}")
    if address.scheme == "https":
        notes.add(key, "https is not carried over: set gateway.tls, or gateway.management_tls")
    return _Address(host, port or _USUAL_PORTS[address.scheme])


def _grpc_port(properties: dict[str, str], notes: Notes) -> int | None:
    port = told_whole(properties, "grpc_inference_port", notes)
    if port is not None and not 0 < port <= LARGEST_PORT:
        notes.add("grpc_inference_port", f"{port} is no port from 1 to {LARGEST_PORT}: it counts as not given")
        return None
    return port


def _keep_apart(ports: dict[str, int]) -> None:
    """Moves management, then gRPC, to the next number that is free: the three ports must differ."""
    taken = {ports["http_port"]}
    for key in ("management_port", "grpc_port"):
        while ports[key] in taken:
            ports[key] += 1
        taken.add(ports[key])


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
