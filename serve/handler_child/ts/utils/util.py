"""Stands for `ts.utils.util`: classes of a module, and labels of classes."""

from __future__ import annotations

import inspect
import json
import os
from types import ModuleType
from typing import Any

from onegate_handler.errors import PredictionException

__all__ = [
    "PredictionException",
    "get_yaml_config",
    "list_classes_from_module",
    "load_label_mapping",
    "map_class_to_label",
]


def list_classes_from_module(module: ModuleType, parent_class: Any = None) -> list[Any]:
    """The classes that the module itself defines, by name; only those that derive from `parent_class` where given."""
    own = [cls for _, cls in inspect.getmembers(module, inspect.isclass) if cls.__module__ == module.__name__]
    return own if parent_class is None else [cls for cls in own if issubclass(cls, parent_class)]


def load_label_mapping(mapping_file_path: str) -> dict[str, str] | None:
    """`index_to_name.json`: class index as text -> label. A list of names counts by its last; None without a file."""
    if not os.path.isfile(mapping_file_path):
        return None
    with open(mapping_file_path) as file:
        mapping = json.load(file)
    if not isinstance(mapping, dict):
        raise ValueError(f"{mapping_file_path}: expected an object, class index -> label")
    if isinstance(mapping.get("object_type_names"), list):
        return {str(index): name for index, name in enumerate(mapping["object_type_names"])}
    return {index: name[-1] if isinstance(name, list) else name for index, name in mapping.items()}


def map_class_to_label(
    probs: list[list[float]], mapping: dict[str, str] | None = None, lbl_classes: Any = None
) -> list[dict[str, float]]:
    """One dict a row, label -> probability; `lbl_classes` are the class indexes of each row, 0, 1, .. without."""
    classes = lbl_classes or [range(len(row)) for row in probs]
    return [
        {(mapping[str(index)] if mapping else str(index)): value for index, value in zip(indexes, row)}
        for indexes, row in zip(classes, probs)
    ]


def get_yaml_config(yaml_file_path: str) -> dict[str, Any]:
    """The parsed YAML file."""
    import yaml

    with open(yaml_file_path) as file:
        config: dict[str, Any] = yaml.safe_load(file)
    return config
