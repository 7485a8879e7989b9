"""Finds a handler's entry point and initialises it, in the order of the server that it was written for.

MMS 1.x (`mms/model_loader.py`) and TorchServe (`ts/model_loader.py`): the function that the manifest names, or
`handle`, is called once with `None` for data; else a class of the module is made and its `initialize(context)` called.
MMS 0.4: the service class of the file, made with `(model_name, model_dir, manifest, gpu)`.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
from types import ModuleType
from typing import Any

from onegate_handler.context import Context

Entry = Any
"""A callable `handle(data, context)`; `data` is a list of dicts, one a request. Python 3.7 has no better name."""


def load_entry(server: str, entry: str, context: Context, legacy: bool) -> Entry:
    """The initialised entry point of the handler `entry`; `legacy` says that its archive is one of MMS 0.4.

    Raises what the handler's own code raises, `ImportError` when there is no such module, and `ValueError` when it has
    no entry point.
    """
    if legacy:
        return _legacy_entry(entry, context)
    path, _, function = entry.partition(":")
    module = _handler_module(_module_name(path), server)
    function = function or "handle"
    named = getattr(module, function, None)
    if callable(named) and not inspect.isclass(named):
        return _function_entry(named, context)
    return _class_entry(named or _service_class(module, function), context)


def _module_name(path: str) -> str:
    name = path.replace("\\", "/").split("/")[-1]
    return name[: -len(".py")] if name.endswith(".py") else name


def _handler_module(name: str, server: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        if server != "torchserve" or error.name != name:
            raise
    # Not in the archive: one of TorchServe's own.
    try:
        return importlib.import_module("ts.torch_handler." + name)
    except ImportError as error:
        if error.name != "ts.torch_handler." + name:
            raise
        raise ImportError(f"no file {name}.py in the archive, and no handler of that name here") from None


def _function_entry(function: Entry, context: Context) -> Entry:
    function(None, context)
    return function


def _class_entry(service_class: Any, context: Context) -> Entry:
    service = service_class()
    if hasattr(service, "initialize"):
        service.initialize(context)
    entry: Entry = service.handle
    return entry


def _service_class(module: ModuleType, function: str) -> Any:
    """Of several classes with `handle` the first that no other one refines."""
    own = [member for member in vars(module).values() if _is_class_of(member, module) and hasattr(member, "handle")]
    for candidate in own:
        if not any(other is not candidate and issubclass(other, candidate) for other in own):
            return candidate
    raise ValueError(f"module {module.__name__!r} has no function {function!r} and no class with a method 'handle'")


def _is_class_of(member: Any, module: ModuleType) -> bool:
    return inspect.isclass(member) and member.__module__ == module.__name__


def _legacy_entry(entry: str, context: Context) -> Entry:
    from mms.model_service.model_service import ModelService

    model_dir = context.system_properties["model_dir"]
    name = _module_name(entry.partition(":")[0])
    module = _file_module(name, os.path.join(model_dir, name + ".py"))
    services = [m for m in vars(module).values() if _is_class_of(m, module) and issubclass(m, ModelService)]
    if not services:
        raise ValueError(f"module {name!r} has no class that derives from SingleNodeService")
    gpu = context.system_properties["gpu_id"]
    service = services[-1](context.model_name, model_dir, context.manifest, gpu)
    service.initialize(context)
    legacy_entry: Entry = service.handle
    return legacy_entry


def _file_module(name: str, path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not os.path.isfile(path):
        # The service of the server itself, which a 0.4 archive need not bring.
        return importlib.import_module("mms.model_service." + name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
