"""Models of PyTorch on another device: their weights move there, and what their code makes is made there.

The device is PyTorch's `meta`, which every build has and which computes shapes only.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch

from converters.pytorch.program import Program, ProgramCall
from converters.pytorch.script import ScriptCall


class Scaled(torch.nn.Module):
    """Has a weight, a buffer, and makes a tensor while it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 2)
        self.register_buffer("scale", torch.ones(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) * self.scale + torch.zeros(2, device=x.device)


def devices_of(module: Any) -> set[str]:
    return {tensor.device.type for tensor in (*module.parameters(), *module.buffers())}


def test_a_program_moves_with_its_weights_and_what_it_makes() -> None:
    exported = torch.export.export(Scaled(), (torch.ones(1, 2),))
    call = ProgramCall(Program(exported), "meta")
    module = call._module
    assert devices_of(module) == {"meta"}
    assert module(torch.ones(1, 2, device="meta")).device.type == "meta"


def test_a_script_moves_with_its_weights() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        call = ScriptCall(torch.jit.script(Scaled()), ["x"], "meta")
    assert devices_of(call._script) == {"meta"}
    assert call.result({"x": torch.ones(1, 2, device="meta")}).device.type == "meta"
