"""PyTorch networks of images, tables and signals."""

from __future__ import annotations

from typing import Any

from tests.sources.pytorch_writing import Net


def image(channels: int, *size: int, name: str = "x") -> Any:
    import torch

    return lambda batch: {name: torch.randn(batch, channels, *size)}


def mlp() -> Net:
    from torch import nn

    return Net(nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 3), nn.Softmax(1)), image(8, name="input"))


def cnn() -> Net:
    """Batch norms with statistics, as after training."""
    import torch
    from torch import nn

    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 6, 3, stride=2),
        nn.BatchNorm2d(6),
        nn.SiLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 5),
    )
    net.train()
    for _ in range(3):
        net(torch.randn(4, 3, 16, 16) * 2 + 1)
    return Net(net, image(3, 16, 16, name="input"))


def resnet() -> Net:
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(4, 8, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(8),
                nn.ReLU(inplace=True),
                nn.Conv2d(8, 8, 3, padding=1, bias=False),
                nn.BatchNorm2d(8),
            )
            self.shortcut = nn.Conv2d(4, 8, 1, stride=2, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.body(x) + self.shortcut(x))

    return Net(Block(), image(4, 12, 12))


def mobile() -> Net:
    """Depthwise and grouped convolutions, squeeze and excitation."""
    import torch
    from torch import nn

    class Mobile(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
            self.grouped = nn.Conv2d(8, 12, 3, padding=2, dilation=2, groups=4)
            self.squeeze = nn.Sequential(
                nn.AdaptiveAvgPool2d(1), nn.Conv2d(12, 3, 1), nn.Hardswish(), nn.Conv2d(3, 12, 1), nn.Hardsigmoid()
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.grouped(nn.functional.relu6(self.depthwise(x)))
            return y * self.squeeze(y)

    return Net(Mobile(), image(8, 9, 9))


def decoder() -> Net:
    """Transposed convolutions with output padding and groups."""
    from torch import nn

    net = nn.Sequential(
        nn.ConvTranspose2d(4, 8, 3, stride=2, padding=1, output_padding=1, groups=2),
        nn.LeakyReLU(0.1),
        nn.ConvTranspose2d(8, 3, 4, stride=2, padding=1),
        nn.Tanh(),
    )
    return Net(net, image(4, 5, 6, name="input"))


def volume() -> Net:
    from torch import nn

    net = nn.Sequential(nn.Conv3d(2, 4, 3, padding=1), nn.ELU(), nn.MaxPool3d(2), nn.Flatten(), nn.Linear(32, 3))
    return Net(net, image(2, 4, 4, 4, name="input"))


def norms() -> Net:
    from torch import nn

    net = nn.Sequential(
        nn.GroupNorm(2, 4), nn.InstanceNorm2d(4, affine=True), nn.LayerNorm([4, 5, 5]), nn.LocalResponseNorm(2)
    )
    return Net(net, image(4, 5, 5, name="input"))


def interpolate() -> Net:
    import torch
    from torch.nn import functional

    class Resize(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {
                "bilinear": functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False),
                "corners": functional.interpolate(x, size=(7, 11), mode="bilinear", align_corners=True),
                "nearest": functional.interpolate(x, scale_factor=(2.0, 3.0), mode="nearest"),
                "bicubic": functional.interpolate(x, scale_factor=2.0, mode="bicubic", align_corners=False),
            }

    return Net(Resize(), image(3, 4, 6))


def any_size() -> Net:
    """A fully convolutional net with free height and width."""
    import torch
    from torch import nn

    free = {"input": {0: torch.export.Dim.AUTO, 2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}}
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Upsample(scale_factor=2), nn.Conv2d(4, 1, 1))

    def arguments(batch: int) -> dict[str, Any]:
        return {"input": torch.randn(batch, 3, 8 + batch, 10)}

    return Net(net, arguments, free)


def grid_sample() -> Net:
    import torch
    from torch import nn
    from torch.nn import functional

    class Warp(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.theta = nn.Linear(3, 6)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            theta = self.theta(x.mean((2, 3))).view(-1, 2, 3)
            grid = functional.affine_grid(theta, list(x.shape), align_corners=False)
            return functional.grid_sample(x, grid, padding_mode="border", align_corners=False)

    return Net(Warp(), image(3, 8, 8))


def pixel_shuffle() -> Net:
    from torch import nn

    net = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.PixelShuffle(2), nn.PixelUnshuffle(2), nn.ReflectionPad2d(1))
    return Net(net, image(3, 6, 6, name="input"))


def selection() -> Net:
    """topk, sort, gather, scatter, cumsum, where, einsum on one table."""
    import torch

    class Selection(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            values, places = torch.topk(x, 3, dim=1)
            return {
                "values": values,
                "sorted": torch.sort(x, dim=1, descending=True).values,
                "gathered": torch.gather(x, 1, places.flip(1)),
                "scattered": torch.zeros_like(x).scatter(1, places, values),
                "summed": torch.cumsum(x, 1),
                "clipped": torch.where(x > 0, x, torch.zeros_like(x) - 1),
                "products": torch.einsum("bi,bj->bij", x, values),
            }

    return Net(Selection(), image(7))


def ties() -> Net:
    """The places of the largest values, which are anybody's choice where values are equal."""
    import torch

    class Places(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.topk(x, 3, dim=1).indices

    return Net(Places(), image(7))


def spectrum() -> Net:
    """A spectrogram: stft with a window, and its power."""
    import torch
    from torch import nn

    class Spectrogram(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("window", torch.hann_window(32))
            self.register_buffer("bank", torch.rand(17, 6))

        def forward(self, audio: torch.Tensor) -> torch.Tensor:
            spectrum = torch.stft(audio, 32, hop_length=16, window=self.window, return_complex=True)
            return torch.log1p(torch.matmul((spectrum.abs() ** 2).transpose(1, 2), self.bank))

    return Net(Spectrogram(), lambda batch: {"audio": torch.randn(batch, 160)})


def fourier() -> Net:
    import torch

    class Fourier(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            spectrum = torch.fft.rfft(x)
            return torch.view_as_real(spectrum), torch.fft.irfft(spectrum * 0.5, n=16)

    return Net(Fourier(), image(16))


def frozen(batch: int) -> Net:
    """A program exported without dynamic shapes: its batch is the example's."""
    from torch import nn

    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 6 * 6, 5))
    return Net(net, image(3, 8, 8, name="input"), batches=(batch,))
