"""How named tensors become the arguments of a call: nested arguments are spelled `<argument>_<key>`.

Serves TorchScript and modules, whose inputs the user declares; a program of torch.export names its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model_store.errors import ConfigError

NUMBERS = ("int", "float", "bool")


@dataclass(frozen=True)
class Parameter:
    """One parameter of `forward`: `kind` is its type as TorchScript writes it, or '' where nobody says."""

    name: str
    required: bool
    kind: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.kind}" if self.kind else self.name

    def leaves(self) -> list[tuple[str, str]]:
        """Names and types of the inputs that stand for it, as far as its type tells."""
        if self.kind.startswith("Tuple["):
            kinds = self.kind.removeprefix("Tuple[").removesuffix("]").split(", ")
            return [(f"{self.name}_{index}", kind) for index, kind in enumerate(kinds)]
        if self.kind.startswith("List["):
            return [(f"{self.name}_0", "")]
        return [(f"{self.name}_<key>" if self.kind.startswith("Dict[") else self.name, self.kind)]


@dataclass(frozen=True)
class Argument:
    """One argument of the call, and the inputs that it is made of."""

    name: str
    shape: str
    """`tensor`, `number`, `tuple`, `list` or `dict`."""
    inputs: tuple[str, ...]
    keys: tuple[str, ...] = ()

    def build(self, tensors: Mapping[str, Any]) -> Any:
        """The argument's value; a number is taken out of its tensor."""
        values = [tensors[name] for name in self.inputs]
        if self.shape == "dict":
            return dict(zip(self.keys, values, strict=True))
        if self.shape in ("tuple", "list"):
            return tuple(values) if self.shape == "tuple" else values
        return values[0].item() if self.shape == "number" else values[0]


@dataclass(frozen=True)
class Arrangement:
    """All arguments of a call, in the order of the parameters."""

    arguments: tuple[Argument, ...]

    @property
    def inputs(self) -> list[str]:
        """Names of the inputs in the order in which the call flattens to tensors."""
        return [name for argument in self.arguments for name in argument.inputs]

    @property
    def numbers(self) -> list[str]:
        """Inputs that are numbers for the model, and no tensors."""
        return [name for argument in self.arguments if argument.shape == "number" for name in argument.inputs]

    def keywords(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        """The call's arguments by name."""
        return {argument.name: argument.build(tensors) for argument in self.arguments}


def arrange(parameters: Sequence[Parameter], inputs: Sequence[str]) -> Arrangement:
    """Which input goes where. Raises `ConfigError`, naming the parameters, when a required one gets nothing or an
    input has no place."""
    left = list(inputs)
    arguments = []
    for parameter in parameters:
        argument = _take(parameter, left)
        if argument is not None:
            arguments.append(argument)
            left = [name for name in left if name not in argument.inputs]
        elif parameter.required:
            raise ConfigError(
                f"inputs: nothing is declared for {parameter.name!r}; forward takes "
                f"{', '.join(map(str, parameters))}, and declared are {', '.join(inputs)}"
            )
    if left:
        raise ConfigError(
            f"inputs: forward has no place for {left[0]!r}; it takes {', '.join(map(str, parameters)) or 'nothing'} "
            "(an item of a nested argument is declared as <argument>_<key>)"
        )
    return Arrangement(tuple(arguments))


def _take(parameter: Parameter, names: Sequence[str]) -> Argument | None:
    name, kind = parameter.name, parameter.kind
    if name in names:
        return Argument(name, "number" if kind in NUMBERS else "tensor", (name,))
    parts = [each for each in names if each.startswith(f"{name}_")]
    if not parts or kind == "Tensor":
        return None
    keys = tuple(each.removeprefix(f"{name}_") for each in parts)
    if kind.startswith("Dict") or (not kind and not all(key.isdecimal() for key in keys)):
        return Argument(name, "dict", tuple(parts), keys)
    ordered = tuple(sorted(parts, key=lambda each: (len(each), each)))
    return Argument(name, "list" if kind.startswith("List") else "tuple", ordered)
