"""Names of operators in files of all releases: each leads to a translation."""

import pytest

from converters.mxnet.aliases import CANONICAL
from converters.mxnet.reference.registry import numpy_operators
from converters.mxnet.registry import operators


@pytest.mark.parametrize(
    ("alias", "canonical"),
    [
        ("Softmax", "SoftmaxOutput"), ("ElementWiseSum", "add_n"), ("_Plus", "elemwise_add"), ("split", "SliceChannel"),
        ("_RMinusScalar", "_rminus_scalar"), ("_GreaterEqualScalar", "_greater_equal_scalar"), ("flip", "reverse"),
        ("_Not_Equal", "_not_equal"), ("_LogicalXorScalar", "_logical_xor_scalar"), ("_Mod", "_mod"),
        ("_sparse_dot", "dot"), ("_sparse_concat", "Concat"), ("choose_element_0index", "pick"), ("crop", "slice"),
        ("BatchNorm_v1", "BatchNorm"), ("linalg_potrf", "_linalg_potrf"), ("_np_amax", "_np_max"),
        ("_npi_slice", "slice"), ("_npi_full", "_full"), ("_npx_leaky_relu", "LeakyReLU"), ("_npx_topk", "topk"),
    ],
)  # fmt: skip
def test_alias_has_one_canonical_name(alias: str, canonical: str) -> None:
    assert CANONICAL[alias] == canonical


def test_names_that_differ_in_capitals_alone_may_be_different_operators() -> None:
    assert {"Crop", "softmax"}.isdisjoint(CANONICAL)


def test_every_canonical_name_has_a_translation() -> None:
    assert set(CANONICAL.values()) - operators().keys() == set()


def test_no_alias_is_the_name_of_an_operator_itself() -> None:
    assert CANONICAL.keys() & (operators().keys() | numpy_operators().keys()) == set()
