"""PyTorch networks in the shape of well-known architectures, tiny."""

from __future__ import annotations

import math
from typing import Any

from tests.sources.pytorch_writing import Net


def unet() -> Net:
    """Skip connections are joined by channel, and the size is restored with bilinear upsampling."""
    import torch
    from torch import nn

    class UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down, self.bottom = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 8, 3, padding=1)
            self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
            self.head = nn.Conv2d(12, 2, 1)

        def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
            first = torch.relu(self.down(image))
            second = torch.relu(self.bottom(nn.functional.max_pool2d(first, 2)))
            logits = self.head(torch.cat([first, self.up(second)], 1))
            return {"logits": logits, "mask": logits.argmax(1).to(torch.uint8)}

    return Net(UNet(), lambda batch: {"image": torch.randn(batch, 1, 8, 8)})


def temporal() -> Net:
    """Causal, dilated convolutions over time with weight norm, as in WaveNet."""
    import torch
    from torch import nn
    from torch.nn.utils.parametrizations import weight_norm

    class Temporal(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.filters = nn.ModuleList(weight_norm(nn.Conv1d(3, 3, 2, dilation=2**level)) for level in range(3))
            self.gates = nn.ModuleList(nn.Conv1d(3, 3, 2, dilation=2**level) for level in range(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for level, (kernel, gate) in enumerate(zip(self.filters, self.gates, strict=True)):
                padded = nn.functional.pad(x, (2**level, 0))
                x = x + torch.tanh(kernel(padded)) * torch.sigmoid(gate(padded))
            return x

    return Net(Temporal(), lambda batch: {"x": torch.randn(batch, 3, 12)})


def language_block() -> Net:
    """A block of today's language models: RMS norm, rotary positions, grouped queries, SwiGLU."""
    import torch
    from torch import nn
    from torch.nn import functional

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm_1, self.norm_2 = nn.RMSNorm(8), nn.RMSNorm(8)
            self.queries, self.pairs, self.out = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
            self.gate, self.up, self.down = nn.Linear(8, 16), nn.Linear(8, 16), nn.Linear(16, 8)
            angles = torch.arange(16).unsqueeze(1) * torch.exp(torch.arange(0, 2) * -math.log(100.0))
            self.register_buffer("cosines", angles.cos())
            self.register_buffer("sines", angles.sin())

        def rotate(self, x: torch.Tensor) -> torch.Tensor:
            steps = x.size(2)
            left, right = x.chunk(2, dim=-1)
            cosines, sines = self.cosines[:steps], self.sines[:steps]
            return torch.cat([left * cosines - right * sines, right * cosines + left * sines], -1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.norm_1(x)
            queries = self.rotate(self.queries(y).unflatten(2, (2, 4)).transpose(1, 2))
            keys, values = self.pairs(y).unsqueeze(1).chunk(2, dim=-1)
            keys = self.rotate(keys).expand(-1, 2, -1, -1)
            seen = functional.scaled_dot_product_attention(queries, keys, values.expand(-1, 2, -1, -1), is_causal=True)
            x = x + self.out(seen.transpose(1, 2).flatten(2))
            y = self.norm_2(x)
            return x + self.down(functional.silu(self.gate(y)) * self.up(y))

    free = {"x": {0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO}}
    return Net(Block(), lambda batch: {"x": torch.randn(batch, 3 + batch, 8)}, free)


def recommender() -> Net:
    """Dense features and categories with embeddings of their own, and the products of all pairs."""
    import torch
    from torch import nn

    class Recommender(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bottom = nn.Linear(4, 3)
            self.tables = nn.ModuleList(nn.Embedding(size, 3) for size in (5, 9, 40))
            self.top = nn.Linear(9, 1)

        def forward(self, dense: torch.Tensor, categories: torch.Tensor) -> torch.Tensor:
            rows = [self.bottom(dense)] + [table(categories[:, place]) for place, table in enumerate(self.tables)]
            stacked = torch.stack(rows, 1)
            products = torch.bmm(stacked, stacked.transpose(1, 2))
            left, right = torch.tril_indices(4, 4, -1)
            return torch.sigmoid(self.top(torch.cat([rows[0], products[:, left, right]], 1)))

    def arguments(batch: int) -> dict[str, Any]:
        return {"dense": torch.randn(batch, 4), "categories": torch.randint(0, 5, (batch, 3))}

    return Net(Recommender(), arguments)


def experts() -> Net:
    """The best two of four experts of each row, weighted by a gate."""
    import torch
    from torch import nn

    class Experts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate = nn.Linear(5, 4)
            self.weights = nn.Parameter(torch.randn(4, 5, 3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            scores, chosen = self.gate(x).softmax(1).topk(2, dim=1)
            answers = torch.einsum("bi,eio->beo", x, self.weights)
            picked = answers.gather(1, chosen.unsqueeze(2).expand(-1, -1, 3))
            return (picked * scores.unsqueeze(2)).sum(1)

    return Net(Experts(), lambda batch: {"x": torch.randn(batch, 5)})


def points() -> Net:
    """A set of points of any number: the same net for each, and the largest of all."""
    import torch
    from torch import nn

    class Points(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.each = nn.Sequential(nn.Conv1d(3, 8, 1), nn.BatchNorm1d(8), nn.ReLU(), nn.Conv1d(8, 6, 1))
            self.all = nn.Linear(6, 3)

        def forward(self, points: torch.Tensor) -> torch.Tensor:
            return self.all(self.each(points.transpose(1, 2)).amax(2))

    free = {"points": {0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO}}
    return Net(Points(), lambda batch: {"points": torch.randn(batch, 6 + batch, 3)}, free)
