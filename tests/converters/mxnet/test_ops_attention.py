"""Interleaved attention: expected values are MXNet 1.9.1's, for inputs that are sines of whole numbers."""

from __future__ import annotations

import pytest

from tests.converters.mxnet.operators import check, f32, refusal, sines


def test_self_attention_scores_are_scaled_products_for_each_head() -> None:
    expected = [[[0.0839678, 0.3869277], [-0.3030733, -0.1826482]], [[-0.0040204, 0.2082999], [-0.4817011, -0.3961316]]]
    check("_contrib_interleaved_matmul_selfatt_qk", [sines(0, 2, 1, 12)], f32(expected), heads=2)


def test_self_attention_weighs_values() -> None:
    expected = [[[0.111086, 0.5922646, -0.3661717, -1.4941953]], [[0.8061609, 1.1881652, -0.2193859, 0.0482473]]]
    inputs = [sines(0, 2, 1, 12), sines(3, 2, 2, 2)]
    check("_contrib_interleaved_matmul_selfatt_valatt", inputs, f32(expected), symbolic=False, heads=2)


def test_scores_of_another_sequence() -> None:
    expected = [
        [[-0.5705693, 0.2500035, 0.4978183], [1.0552055, 0.0022425, -1.0558579]],
        [[0.6772521, -0.2810481, -0.595467], [-0.0040204, -0.3897435, 0.1174358]],
    ]
    check("_contrib_interleaved_matmul_encdec_qk", [sines(0, 2, 1, 4), sines(4, 3, 1, 8)], f32(expected), heads=2)


def test_values_of_another_sequence_are_weighed() -> None:
    expected = [[[-0.6452124, 0.7631981, -0.8706804, -1.612889]], [[0.5573791, -0.9175639, 0.9921712, 1.646562]]]
    inputs = [sines(4, 3, 1, 8), sines(9, 2, 2, 3)]
    check("_contrib_interleaved_matmul_encdec_valatt", inputs, f32(expected), symbolic=False, heads=2)


def test_scale_of_dot_products_is_the_root_of_the_last_size() -> None:
    expected = [[0, 0.4858235, 0.5249831], [0.0814757, -0.4369401, -0.5536352]]
    check("_contrib_div_sqrt_dim", [sines(0, 2, 3)], f32(expected))


def test_the_last_size_may_be_unknown() -> None:
    check("_contrib_div_sqrt_dim", [[2, 4, 6, 8]], f32([1, 2, 3, 4]), symbolic=True)


@pytest.mark.parametrize("heads", [0, 5, -1])
def test_heads_that_do_not_divide_the_width_are_refused(heads: int) -> None:
    message = refusal("_contrib_interleaved_matmul_selfatt_qk", [sines(0, 2, 1, 12)], heads=heads)
    assert f"attribute 'heads': {heads} heads of 3 parts can't share the last axis of float32[x0_0,1,12]" in message
