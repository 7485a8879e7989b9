"""PyTorch networks of sequences: recurrent ones, attention, embeddings, and tiny models of `transformers`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.sources.pytorch_writing import Net


def sequence(features: int, steps: int = 7, name: str = "input") -> Callable[[int], dict[str, Any]]:
    import torch

    return lambda batch: {name: torch.randn(batch, steps, features)}


def tokens(vocabulary: int, *names: str, steps: int = 6) -> Callable[[int], dict[str, Any]]:
    import torch

    return lambda batch: {name: torch.randint(0, vocabulary, (batch, steps)) for name in names}


def lstm() -> Net:
    """Two layers, both directions, with the states given out: dimension 1 of a state is the batch."""
    from torch import nn

    return Net(nn.LSTM(4, 5, num_layers=2, bidirectional=True, batch_first=True), sequence(4))


def lstm_tagger() -> Net:
    """Token ids through an embedding into an LSTM, one answer a step."""
    import torch
    from torch import nn

    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(20, 6, padding_idx=0)
            self.lstm = nn.LSTM(6, 8, batch_first=True)
            self.head = nn.Linear(8, 4)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            steps, _ = self.lstm(self.embedding(ids.long()))
            return self.head(steps).log_softmax(-1)

    return Net(Tagger(), tokens(20, "ids"))


def gru() -> Net:
    """The last state of a GRU, which starts from a state that the caller gives."""
    import torch
    from torch import nn

    class Stateful(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru = nn.GRU(3, 5, batch_first=True)

        def forward(self, x: torch.Tensor, state: torch.Tensor) -> dict[str, torch.Tensor]:
            steps, last = self.gru(x, state.unsqueeze(0))
            return {"steps": steps, "state": last.squeeze(0)}

    def arguments(batch: int) -> dict[str, Any]:
        return {"x": torch.randn(batch, 6, 3), "state": torch.randn(batch, 5)}

    return Net(Stateful(), arguments, names={"state": "state_out"})


def rnn() -> Net:
    from torch import nn

    return Net(nn.RNN(3, 4, nonlinearity="relu", batch_first=True), sequence(3, 5))


def cells() -> Net:
    """A recurrent cell called step by step."""
    import torch
    from torch import nn

    class Steps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.LSTMCell(3, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            hidden, memory = x.new_zeros(x.size(0), 4), x.new_zeros(x.size(0), 4)
            for step in range(x.size(1)):
                hidden, memory = self.cell(x[:, step], (hidden, memory))
            return hidden

    return Net(Steps(), lambda batch: {"x": torch.randn(batch, 4, 3)})


def attention() -> Net:
    """Multi-head attention with a mask of padding, free number of steps."""
    import torch
    from torch import nn

    class Attend(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x: torch.Tensor, padding: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            # A row of padding alone would be NaN.
            padding = torch.cat([torch.zeros_like(padding[:, :1]), padding[:, 1:]], 1)
            return self.attention(x, x, x, key_padding_mask=padding)

    batch, steps = torch.export.Dim.AUTO, torch.export.Dim.AUTO

    def arguments(size: int) -> dict[str, Any]:
        return {"x": torch.randn(size, 4 + size, 8), "padding": torch.rand(size, 4 + size) > 0.7}

    return Net(Attend(), arguments, {"x": {0: batch, 1: steps}, "padding": {0: batch, 1: steps}})


def encoder() -> Net:
    from torch import nn

    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    return Net(nn.TransformerEncoder(layer, 1, enable_nested_tensor=False), sequence(8, name="src"))


def causal() -> Net:
    """scaled_dot_product_attention with the causal mask, and one with a mask that the caller gives."""
    import torch
    from torch.nn import functional

    class Causal(torch.nn.Module):
        def forward(self, x: torch.Tensor, bias: torch.Tensor) -> dict[str, torch.Tensor]:
            heads = x.unflatten(2, (2, 4)).transpose(1, 2)
            return {
                "causal": functional.scaled_dot_product_attention(heads, heads, heads, is_causal=True),
                "biased": functional.scaled_dot_product_attention(heads, heads, heads, attn_mask=bias),
            }

    return Net(Causal(), lambda batch: {"x": torch.randn(batch, 5, 8), "bias": torch.randn(batch, 1, 5, 5)})


def embedding_bag() -> Net:
    """Bags of ids of one length each, summed with a weight for each id."""
    import torch
    from torch import nn

    class Bags(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mean = nn.EmbeddingBag(12, 4, mode="mean")
            self.positions = nn.Embedding(5, 4)

        def forward(self, ids: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
            return self.mean(ids) + self.positions(places.view(-1, 1)[:, 0].to(torch.int64))

    def arguments(batch: int) -> dict[str, Any]:
        return {
            "ids": torch.randint(0, 12, (batch, 3)),
            "places": torch.randint(0, 5, (batch,), dtype=torch.int32),
        }

    return Net(Bags(), arguments)


def bert() -> Net:
    """A tiny BERT built from its config, exported with free batch and steps; its answer is a dict."""
    import torch
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=30, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=40, attn_implementation="eager",
    )  # fmt: skip
    batch, steps = torch.export.Dim("batch", min=1, max=512), torch.export.Dim("steps", min=2, max=40)
    free = {"input_ids": {0: batch, 1: steps}, "attention_mask": {0: batch, 1: steps}}

    def arguments(size: int) -> dict[str, Any]:
        mask = torch.ones(size, 3 + size, dtype=torch.int64)
        mask[0, -2:] = 0
        return {"input_ids": torch.randint(0, 30, (size, 3 + size)), "attention_mask": mask}

    return Net(BertModel(config), arguments, free)


def vit() -> Net:
    import torch
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, image_size=16, patch_size=4,
        num_labels=3,
    )  # fmt: skip
    return Net(ViTForImageClassification(config), lambda batch: {"pixel_values": torch.rand(batch, 3, 16, 16)})


def gpt2() -> Net:
    """A tiny causal language model without a cache."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=25, n_positions=32, n_embd=16, n_layer=1, n_head=2, use_cache=False, bos_token_id=0, eos_token_id=0
    )
    batch, steps = torch.export.Dim("batch", min=1, max=512), torch.export.Dim("steps", min=2, max=32)

    def arguments(size: int) -> dict[str, Any]:
        return {"input_ids": torch.randint(0, 25, (size, 4 + size))}

    return Net(GPT2LMHeadModel(config), arguments, {"input_ids": {0: batch, 1: steps}})
