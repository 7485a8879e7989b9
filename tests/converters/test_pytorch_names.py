"""Public names of outputs and inputs, ranges of indexes, messages and element types."""

import dataclasses
import re
from collections import namedtuple
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from converters.native import load_native
from converters.pickles import UnreadablePickle, harmless, torch_stream_globals
from converters.pytorch.arguments import Parameter, arrange
from converters.pytorch.names import apart, leaf_names, named_leaves
from converters.pytorch.onnx_export import most_telling, why
from converters.pytorch.ranges import named_ranges, program_ranges
from converters.pytorch.script import reason_of
from converters.pytorch.tensors import datatype_of, to_array, to_tensor
from model_store.errors import ConfigError, ConversionError, SourceError
from model_store.manifest import Signature, TensorSpec

pytestmark = pytest.mark.filterwarnings("ignore")
# PyTorch warns of its own deprecations when it exports.

Point = namedtuple("Point", ["left", "right"])  # the plain kind is what TorchScript makes


@dataclasses.dataclass
class Answer:
    scores: Any
    hidden: Any = None


T = np.float32(1)


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (T, ["output"]),
        ((T, T), ["output_0", "output_1"]),
        ([T], ["output_0"]),
        ({"a": T, "b": (T, T)}, ["a", "b_0", "b_1"]),
        ((T, {"a": T}), ["output_0", "output_1_a"]),
        ({"a": None, "b": T, "c": "text"}, ["b"]),
        ({0: T}, ["0"]),
        (Point(T, T), ["left", "right"]),
        (Answer(T), ["scores"]),
        (Answer(T, (T, T)), ["scores", "hidden_0", "hidden_1"]),
        ({"a": {"b": T}, "a_b": T}, ["output_0", "output_1"]),
    ],
)
def test_leaves_are_named_by_their_way(value: Any, names: list[str]) -> None:
    assert list(named_leaves(value)) == names


def test_a_tree_of_torch_has_the_same_names() -> None:
    from torch.utils._pytree import tree_flatten

    for value in (T, (T, T), {"a": T, "b": (T, [T])}, Point(T, T)):
        assert leaf_names(tree_flatten(value)[1]) == list(named_leaves(value))


def test_an_output_with_the_name_of_an_input_is_told_apart() -> None:
    assert apart(["y", "state"], ["x", "state"]) == ["y", "state_out"]


def test_inputs_find_their_arguments() -> None:
    parameters = [
        Parameter("x", True, "Tensor"),
        Parameter("pair", True, "Tuple[Tensor, Tensor]"),
        Parameter("batch", True, "Dict[str, Tensor]"),
        Parameter("many", False, "List[Tensor]"),
        Parameter("rate", True, "int"),
        Parameter("left_out", False, "Optional[Tensor]"),
    ]
    names = ["batch_ids", "x", "pair_1", "pair_0", "batch_mask", "rate", *(f"many_{index}" for index in range(11))]
    arrangement = arrange(parameters, names)
    assert arrangement.inputs == [
        "x", "pair_0", "pair_1", "batch_ids", "batch_mask", *(f"many_{index}" for index in range(11)), "rate"
    ]  # fmt: skip
    assert arrangement.numbers == ["rate"]
    values = {name: np.array(index) for index, name in enumerate(names)}
    keywords = arrangement.keywords(values)
    assert keywords["pair"] == (3, 2)
    assert keywords["batch"] == {"ids": 0, "mask": 4}
    assert keywords["many"] == list(range(6, 17))
    assert keywords["rate"] == 5
    assert type(keywords["rate"]) is int


def test_an_input_too_many_and_one_too_few_are_told() -> None:
    parameters = [Parameter("x", True), Parameter("y", False)]
    with pytest.raises(ConfigError, match=r"^inputs: forward has no place for 'z'; it takes x, y \(an item of"):
        arrange(parameters, ["x", "z"])
    with pytest.raises(
        ConfigError, match=r"^inputs: nothing is declared for 'x'; forward takes x, y, and declared are y"
    ):
        arrange(parameters, ["y"])


def test_indexes_stay_inside_of_their_tables() -> None:
    import torch

    class Lookups(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.kinds = torch.nn.Embedding(20, 3), torch.nn.Embedding(7, 3)
            self.register_buffer("table", torch.randn(9, 3))

        def forward(
            self, ids: torch.Tensor, both: torch.Tensor, rows: torch.Tensor, places: torch.Tensor, x: torch.Tensor
        ) -> torch.Tensor:
            looked_up = self.words(ids.to(torch.int64).unsqueeze(1))[:, 0] + self.words(both) + self.kinds(both)
            return looked_up + self.table[rows] + x.gather(1, places)

    four = torch.zeros(4, dtype=torch.int64)
    arguments = (four.to(torch.int32), four, four.clone(), torch.zeros(4, 3, dtype=torch.int64), torch.randn(4, 5))
    program = torch.export.export(Lookups(), arguments)
    assert program_ranges(program, ["ids", "both", "rows", "places", "x"]) == {
        "ids": (0, 19), "both": (0, 6), "rows": (0, 8), "places": (0, 4)
    }  # fmt: skip


def test_masks_and_lengths_are_known_by_their_names() -> None:
    datatypes = {"attention_mask": "INT64", "mask": "FP32", "lengths": "INT64", "seq_len": "INT32", "silence": "INT64"}
    specs = [TensorSpec(name, datatype, (-1,)) for name, datatype in datatypes.items()]
    assert named_ranges(specs) == {"attention_mask": (0, 1), "lengths": (1, 3), "seq_len": (1, 3)}


def test_a_missing_operator_is_named_in_one_line() -> None:
    import torch

    from converters.pytorch.onnx_export import export_program
    from converters.pytorch.program import Program

    class Inverse(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.linalg.inv(x)

    program = Program(torch.export.export(Inverse(), (torch.eye(3),)))
    with pytest.raises(
        ConversionError, match=r"^PyTorch's ONNX exporter fails: it has no operator for aten\.linalg_inv_ex$"
    ):
        export_program(program, Path("unused"))


def test_the_reason_is_at_the_bottom_of_the_chain_and_without_colours() -> None:
    error = RuntimeError("\x1b[96mThis is step 3/3\x1b[0m of exporting")
    error.__cause__ = ValueError("the size is odd\nand more")
    assert why(error) == "the size is odd"
    assert why(RuntimeError("Exporting the operator 'aten::fft' to ONNX is not supported")) == (
        "it has no operator for aten::fft"
    )
    first, second = ConversionError("unclear"), ConversionError("it has no operator for aten::fft")
    assert most_telling([first, second]) is second
    assert most_telling([first]) is first


def test_the_reason_of_torchscript_is_below_its_traceback() -> None:
    text = "The following operation failed\nTraceback of TorchScript:\n  File\nbuiltins.ValueError: too short\n"
    assert reason_of(RuntimeError(text)) == "ValueError: too short"
    assert reason_of(RuntimeError("size 2 must match 3\nmore")) == "size 2 must match 3"


def test_bfloat16_keeps_its_bits_both_ways() -> None:
    import torch

    array = np.array([[1.5, -2.0], [3.25, 0.007]], dtype=ml_dtypes.bfloat16)
    tensor = to_tensor(array)
    assert tensor.dtype == torch.bfloat16
    assert tensor[1, 0].item() == 3.25
    back = to_array(tensor.t())
    assert back.dtype == array.dtype
    assert np.array_equal(back.view(np.int16), array.T.copy().view(np.int16))


def test_a_tensor_is_the_model_s_own_copy() -> None:
    array = np.frombuffer(bytes(8), dtype=np.float32)
    to_tensor(array).add_(1)
    assert array.tolist() == [0, 0]
    assert to_array(True).dtype == np.bool_


def test_elements_that_no_protocol_carries_are_told() -> None:
    import torch

    assert datatype_of(torch.bfloat16, "x") == "BF16"
    with pytest.raises(ConversionError, match=r"^tensor 'x' has elements of type complex64, which no protocol carries"):
        datatype_of(torch.complex64, "x")


def test_a_folder_without_a_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=re.escape("holds model.pt2 or model.ts; this one has neither")):
        load_native("pytorch", tmp_path, {"serving_default": Signature((), ())})


def test_the_largest_wish_for_threads_counts() -> None:
    import torch

    from converters.pytorch import native

    before = torch.get_num_threads()
    try:
        native.use_threads(3)
        native.use_threads(2)
        assert torch.get_num_threads() == 3
        native.use_threads(0)
        assert torch.get_num_threads() == 3
    finally:
        native._threads_of_process = 0
        torch.set_num_threads(before)


def test_imports_of_an_older_torch_save_are_told(tmp_path: Path) -> None:
    import torch

    path = tmp_path / "weights.pth"
    torch.save({"w": torch.ones(3)}, path, _use_new_zipfile_serialization=False)
    names = torch_stream_globals(path)
    assert names == ["torch._utils._rebuild_tensor_v2", "torch.FloatStorage", "collections.OrderedDict"]
    assert all(map(harmless, names))
    torch.save(torch.nn.Linear(1, 1), path, _use_new_zipfile_serialization=False)
    assert "torch.nn.modules.linear.Linear" in torch_stream_globals(path)
    (tmp_path / "other").write_bytes(b"\x80\x02}.")
    with pytest.raises(UnreadablePickle):
        torch_stream_globals(tmp_path / "other")
