"""TorchServe and MXNet Model Server: `config.properties` with its model store, or a folder of archives."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from model_store.archive_manifest import Server
from model_store.archives import looks_like_archive
from serve.importing.base import Imported, Notes, without_empty
from serve.importing.limits import LARGEST_BODY_BYTES
from serve.importing.model_server_keys import KEYS
from serve.importing.model_server_models import ServerDefaults, read_models, whole
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
    models, found = read_models(wanted, _defaults(properties), notes)
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


def _defaults(properties: dict[str, str]) -> ServerDefaults:
    return ServerDefaults(
        workers=whole(properties.get("default_workers_per_model")),
        response_timeout_s=whole(properties.get("default_response_timeout")) or 120,
        queue=whole(properties.get("job_queue_size")),
    )


def _gateway(properties: dict[str, str], server: Server, notes: Notes) -> dict[str, Any]:
    ports = dict(PORTS[server])
    host = _address(properties, "inference_address", "http_port", ports, notes)
    management_host = _address(properties, "management_address", "management_port", ports, notes)
    if grpc_port := whole(properties.get("grpc_inference_port")):
        ports["grpc_port"] = grpc_port
    one_address = ports["http_port"] == ports["management_port"]
    _keep_apart(ports)
    if management_host is not None and not _is_loopback(management_host):
        wanted = "that needs keys (`access`) and `gateway.management_host`"
        notes.add("management_address", f"{management_host} is for others too: {wanted}")
    size = whole(properties.get("max_request_size"))
    return without_empty(
        {
            "host": host if host not in (None, "127.0.0.1") else None,
            **ports,
            "max_body_bytes": max(1024, notes.at_most("max_request_size", size, LARGEST_BODY_BYTES)) if size else None,
            "management_on_endpoint": one_address or None,
        }
    )


def _address(properties: dict[str, str], key: str, port_key: str, ports: dict[str, int], notes: Notes) -> str | None:
    """The host of an address; its port goes into `ports`."""
    text = properties.get(key)
    if text is None:
        return None
    try:
        address = urlsplit(text)
        port, host = address.port, address.hostname
    except ValueError:
        port, host, address = None, None, urlsplit("")
    if address.scheme not in ("http", "https") or host is None:
        notes.add(key, f"{text!r} is no HTTP address; the usual port is taken")
        return None
    if address.scheme == "https":
        notes.add(key, "https is not carried over: set gateway.tls, or gateway.management_tls")
    ports[port_key] = port or {"http": 80, "https": 443}[address.scheme]
    return host


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
