"""PyTorch networks that are odd at their edges: nested inputs and outputs, element types, control flow."""

from __future__ import annotations

from typing import Any

from tests.sources.pytorch_writing import Net


def linear(dtype: str) -> Net:
    """A small net of one floating type throughout."""
    import torch
    from torch import nn

    kind = getattr(torch, dtype)
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).to(kind)
    return Net(net, lambda batch: {"input": torch.randn(batch, 6).to(kind)})


def integers() -> Net:
    """uint8 pixels, int32 and int64 numbers, bool flags."""
    import torch

    class Mixed(torch.nn.Module):
        def forward(
            self, pixels: torch.Tensor, small: torch.Tensor, large: torch.Tensor, flags: torch.Tensor
        ) -> dict[str, torch.Tensor]:
            return {
                "scaled": pixels.to(torch.float32) / 255.0,
                "sums": small.to(torch.int64) + large * 2,
                "rest": large % 3,
                "flags": flags & (small > 1),
                "count": flags.sum(1),
            }

    def arguments(batch: int) -> dict[str, Any]:
        return {
            "pixels": torch.randint(0, 256, (batch, 4), dtype=torch.uint8),
            "small": torch.randint(-5, 5, (batch, 4), dtype=torch.int32),
            "large": torch.randint(-5, 5, (batch, 4)),
            "flags": torch.rand(batch, 4) > 0.5,
        }

    return Net(Mixed(), arguments, names={"flags": "flags_out"})


def nested() -> Net:
    """A dict and a tuple go in; a dict of tensors, tuples and None comes out."""
    import torch

    class Nested(torch.nn.Module):
        def forward(self, features: dict[str, torch.Tensor], pair: tuple[torch.Tensor, torch.Tensor]) -> dict[str, Any]:
            total = features["left"] + features["right"]
            return {"total": total, "parts": (total * pair[0], [total - pair[1]]), "nothing": None}

    def arguments(batch: int) -> dict[str, Any]:
        first, second = torch.randn(batch, 3), torch.randn(batch, 3)
        return {
            "features": {"left": torch.randn(batch, 3), "right": torch.randn(batch, 3)},
            "pair": (first, second),
        }

    return Net(Nested(), arguments)


def unused() -> Net:
    """An input that nothing uses, one that is given out as it came, and a constant."""
    import torch

    class Unused(torch.nn.Module):
        def forward(self, x: torch.Tensor, extra: torch.Tensor, same: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"doubled": x * 2, "same": same}

    def arguments(batch: int) -> dict[str, Any]:
        return {"x": torch.randn(batch, 3), "extra": torch.randn(batch, 2), "same": torch.randn(batch, 2)}

    return Net(Unused(), arguments, names={"same": "same_out"})


def cond() -> Net:
    """A branch of torch.cond on the data of the whole batch."""
    import torch
    from torch import nn

    class Branch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cond(x.sum() > 0, lambda y: self.linear(y), lambda y: y - 1.0, (x,))

    return Net(Branch(), lambda batch: {"x": torch.randn(batch, 4)})


def loop() -> Net:
    """A scripted loop over the steps that are there, with a branch on the data."""
    import torch
    from torch import nn

    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.Linear(3, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            state = torch.zeros(x.size(0), 3)
            for step in range(x.size(1)):
                state = torch.tanh(self.cell(state) + x[:, step])
                if bool(state.abs().max() > 0.9):
                    state = state * 0.5
            return state

    return Net(Loop(), lambda batch: {"x": torch.randn(batch, 3 + batch, 3)})


def optional() -> Net:
    """A scripted module with an argument that may be left out, and a dict as its answer."""
    import torch
    from torch import nn

    class Optionally(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 2)

        # TorchScript reads annotations in the scope of the module; `Optional` is one of its own words.
        def forward(self, x, weight: Optional[torch.Tensor] = None) -> dict[str, torch.Tensor]:  # noqa: F821
            if weight is not None:
                x = x * weight
            return {"logits": self.linear(x), "total": x.sum(1)}

    return Net(Optionally(), lambda batch: {"x": torch.randn(batch, 4)})


def power() -> Net:
    """A scripted module that takes a number besides a tensor."""
    import torch

    class Power(torch.nn.Module):
        def forward(self, x: torch.Tensor, times: int) -> torch.Tensor:
            for _ in range(times):
                x = x * 0.5 + 1.0
            return x

    return Net(Power(), lambda batch: {"x": torch.randn(batch, 4), "times": 2})


def counter() -> Net:
    """A program that counts its calls in a buffer: each answer is that of a program just loaded."""
    import torch
    from torch import nn

    class Counter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 3)
            self.register_buffer("calls", torch.zeros(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls.add_(1.0)
            return self.linear(x) + self.calls

    return Net(Counter(), lambda batch: {"x": torch.randn(batch, 3)})


def constants() -> Net:
    """Arguments that are no tensors are constants of the program; None and a number come out beside a tensor."""
    import torch

    class Constants(torch.nn.Module):
        def forward(
            self, x: torch.Tensor, doubled: bool = True, factor: float = 3.0, extra: torch.Tensor | None = None
        ) -> tuple[torch.Tensor, None, int]:
            y = x * factor if doubled else x
            return (y if extra is None else y + extra), None, 7

    return Net(Constants(), lambda batch: {"x": torch.randn(batch, 3)})


def found() -> Net:
    """As many rows come out as there are positive values."""
    import torch

    class Found(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.nonzero(x > 0)

    return Net(Found(), lambda batch: {"x": torch.randn(batch, 4)})


def sizes() -> Net:
    """The largest value of all rows, which has no dimensions, and the best place of each."""
    import torch

    class Sizes(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> dict[str, Any]:
            return {"best": x.argmax(1), "largest": x.max(), "mean": x.mean(1, keepdim=True)}

    return Net(Sizes(), lambda batch: {"x": torch.randn(batch, 5)})


def baked() -> Net:
    """A reshape to the batch that it was traced with."""
    import torch

    class Baked(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.reshape(1, 2, 3).transpose(1, 2).reshape(1, 6) * 2

    return Net(Baked(), lambda batch: {"x": torch.randn(batch, 6)}, batches=(1,))


def inverse() -> Net:
    import torch

    class Inverse(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.linalg.inv(x + 8 * torch.eye(3))

    return Net(Inverse(), lambda batch: {"x": torch.rand(batch, 3, 3)})


def complex_output() -> Net:
    import torch

    class Complex(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.fft.rfft(x)

    return Net(Complex(), lambda batch: {"x": torch.randn(batch, 8)})


def quantized() -> Net:
    """A net with dynamically quantised layers, as torch.ao.quantization makes it."""
    import torch
    from torch import nn

    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    packed = torch.ao.quantization.quantize_dynamic(net, {nn.Linear}, dtype=torch.qint8)
    return Net(packed, lambda batch: {"input": torch.randn(batch, 6)})


def half_convolution() -> Net:
    import torch
    from torch import nn

    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AvgPool2d(2)).half()
    return Net(net, lambda batch: {"input": torch.randn(batch, 3, 8, 8).half()})


def converging() -> Net:
    """A scripted loop whose end depends on the data of all rows."""
    import torch

    class Converging(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            steps = 0
            while bool(x.abs().max() > 1.0) and steps < 20:
                x = x * 0.5
                steps += 1
            return {"x": x, "steps": torch.tensor(steps)}

    return Net(Converging(), lambda batch: {"x": torch.randn(batch, 4) * 5}, names={"x": "x_out"})


def lists_and_dicts() -> Net:
    """A scripted module that takes a dict and a list, and gives a tuple that holds a dict and a number."""
    import torch

    class Joined(torch.nn.Module):
        def forward(
            self, batch: dict[str, torch.Tensor], many: list[torch.Tensor]
        ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
            joined = torch.cat([batch["left"], batch["right"], many[0], many[1]], dim=1)
            return joined, {"mean": joined.mean(1), "largest": joined.amax(1)}

    def arguments(batch: int) -> dict[str, Any]:
        left, right, first, second = torch.randn(4, batch, 3)
        return {"batch": {"left": left, "right": right}, "many": [first, second]}

    return Net(Joined(), arguments)
