"""PyTorch's fused transformer operators, written out, against the operators themselves."""

from typing import Any

import pytest

from converters.pytorch.fused_attention import multi_head_attention, transformer_encoder_layer

pytestmark = pytest.mark.filterwarnings("ignore")


def weights(*shapes: tuple[int, ...]) -> list[Any]:
    import torch

    torch.manual_seed(1)
    return [torch.randn(*shape) * 0.3 for shape in shapes]


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("use_gelu", [True, False])
def test_a_layer_is_the_fused_one(use_gelu: bool, norm_first: bool) -> None:
    import torch

    qkv, qkv_bias, proj, proj_bias = weights((24, 8), (24,), (8, 8), (8,))
    norms_and_nets = weights((8,), (8,), (8,), (8,), (16, 8), (16,), (8, 16), (8,))
    src = torch.randn(3, 5, 8)
    arguments = (src, 8, 2, qkv, qkv_bias, proj, proj_bias, use_gelu, norm_first, 1e-5, *norms_and_nets)
    expected = torch.ops.aten._transformer_encoder_layer_fwd(*arguments)
    torch.testing.assert_close(transformer_encoder_layer(*arguments), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mask_type", [None, 0, 1])
@pytest.mark.parametrize("average", [True, False])
def test_attention_is_the_fused_one(mask_type: int | None, average: bool) -> None:
    import torch

    qkv, qkv_bias, proj, proj_bias = weights((24, 8), (24,), (8, 8), (8,))
    x = torch.randn(3, 5, 8)
    masks = {
        None: None,
        0: torch.triu(torch.ones(5, 5, dtype=torch.bool), 1),
        1: torch.tensor([[0, 0, 0, 0, 1], [0, 0, 0, 0, 0], [0, 0, 1, 1, 1]], dtype=torch.bool),
    }
    arguments = (x, x, x, 8, 2, qkv, qkv_bias, proj, proj_bias, masks[mask_type], True, average, mask_type)
    expected, expected_weights = torch.ops.aten._native_multi_head_attention(*arguments)
    answer, attention = multi_head_attention(*arguments)
    torch.testing.assert_close(answer, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(attention, expected_weights, rtol=1e-5, atol=1e-5)


def test_weights_that_nobody_asked_for_are_empty() -> None:
    import torch

    qkv, qkv_bias, proj, proj_bias = weights((24, 8), (24,), (8, 8), (8,))
    x = torch.randn(3, 5, 8)
    assert multi_head_attention(x, x, x, 8, 2, qkv, qkv_bias, proj, proj_bias, None, False)[1].shape == (0,)
