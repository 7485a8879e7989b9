"""Operators that the project adds to tf2onnx, each against a written-out rule and against TensorFlow."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.base import ConversionOptions
from converters.graph import open_session, runner
from converters.tensorflow.converter import TensorFlowConverter
from converters.tensorflow.operators import HANDLERS
from model_store.errors import ConversionError
from tests.sources.tensorflow_modules import module, spec

pytestmark = pytest.mark.filterwarnings("ignore")

Answer = Callable[[Any, Any], np.ndarray]


@pytest.fixture
def convert(tmp_path: Path) -> Answer:
    """Runs a function of one tensor through ONNX, and shows that TensorFlow answers the same."""

    def answer(function: Any, x: Any, **parts: Any) -> np.ndarray:
        import tensorflow as tf

        x = np.asarray(x)
        kind = "string" if x.dtype == object else x.dtype.name

        @module(spec("x", None, *x.shape[1:], dtype=kind), **parts)
        def net(self: Any, x: Any) -> Any:
            return {"y": function(self, x) if parts else function(x)}

        tf.saved_model.save(net, str(tmp_path / "model"), signatures=net.call)
        conversion = TensorFlowConverter().convert(tmp_path / "model", ConversionOptions(), tmp_path)
        got = runner(open_session(conversion.model))({"x": x})["y"]
        expected = conversion.reference({"x": x})["y"]
        assert got.dtype == expected.dtype
        assert got.shape == expected.shape
        if expected.dtype.kind == "f":
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
        else:
            texts = [each.decode() if isinstance(each, bytes) else each for each in expected.ravel()]
            assert got.ravel().tolist() == texts
        return got

    return answer


@pytest.mark.parametrize("kind", [np.int32, np.int64])
def test_integer_division_rounds_down_and_its_rest_has_the_divisor_s_sign(convert: Answer, kind: Any) -> None:
    x = np.array([-7, -6, -1, 0, 1, 7], kind)
    assert convert(lambda x: x % 3, x).tolist() == [2, 0, 2, 0, 1, 1]
    assert convert(lambda x: x // 3, x).tolist() == [-3, -2, -1, 0, 0, 2]
    assert convert(lambda x: x % -3, x).tolist() == [-1, 0, -1, 0, -2, -2]
    assert convert(lambda x: x // -3, x).tolist() == [2, 2, 0, 0, -1, -3]


def test_division_of_floats_rounds_down(convert: Answer) -> None:
    x = np.array([-7.5, -0.5, 0.0, 7.5], np.float32)
    assert convert(lambda x: x // 2.0, x).tolist() == [-4, -1, 0, 3]
    assert convert(lambda x: x % 2.0, x).tolist() == [0.5, 1.5, 0.0, 1.5]


def test_truncation_cuts_towards_zero(convert: Answer) -> None:
    import tensorflow as tf

    x = np.array([-7.5, -6.0, 0.0, 7.5], np.float32)
    assert convert(lambda x: tf.truncatediv(x, 2.0), x).tolist() == [-3, -3, 0, 3]
    assert convert(lambda x: tf.raw_ops.TruncateMod(x=x, y=2.0), x).tolist() == [-1.5, 0, 0, 1.5]
    x = np.array([-7, -6, 0, 7], np.int32)
    assert convert(lambda x: tf.truncatediv(x, 2), x).tolist() == [-3, -3, 0, 3]
    assert convert(lambda x: tf.truncatemod(x, 4), x).tolist() == [-3, -2, 0, 3]


def test_logarithm_and_exponential_near_one_keep_small_numbers(convert: Answer) -> None:
    import tensorflow as tf

    x = np.array([1e-9, 1e-4, 1.0], np.float32)
    np.testing.assert_allclose(convert(tf.math.log1p, x), np.log1p(x), rtol=1e-6)
    np.testing.assert_allclose(convert(tf.math.expm1, x), np.expm1(x), rtol=1e-6)


def test_a_value_on_a_boundary_is_in_the_upper_bucket(convert: Answer) -> None:
    import tensorflow as tf

    x = np.array([[-1, 0], [17.9, 18], [65, np.nan]], np.float32)
    buckets = convert(lambda x: tf.raw_ops.Bucketize(input=x, boundaries=[0.0, 18.0, 65.0]), x)
    assert buckets.tolist() == [[0, 1], [1, 2], [3, 3]]


def test_zero_wins_over_nan_and_infinity(convert: Answer) -> None:
    import tensorflow as tf

    x = np.array([0.0, 2.0, 4.0], np.float32)
    assert convert(lambda x: tf.math.multiply_no_nan(1.0 / x, [0.0, 0.0, 2.0]), x).tolist() == [0, 0, 0.5]
    assert convert(lambda x: tf.math.xlogy([0.0, 1.0, 0.0], x), x)[[0, 2]].tolist() == [0, 0]  # log(0) is -inf


def test_error_function_and_squares(convert: Answer) -> None:
    import tensorflow as tf

    x = np.array([-1.0, 0.0, 0.5], np.float32)
    np.testing.assert_allclose(convert(tf.math.erfc, x), [1.8427008, 1.0, 0.4795001], rtol=1e-6)
    assert convert(lambda x: x * tf.nn.l2_loss(x), x).tolist() == [-0.625, 0.0, 0.3125]


@pytest.mark.parametrize("length", [8, 6, 11])
def test_a_fourier_transform_cuts_or_pads_its_signal(convert: Answer, length: int) -> None:
    import tensorflow as tf

    x = np.random.default_rng(0).standard_normal((2, 3, 8)).astype(np.float32)
    expected = np.fft.rfft(x, length)
    for part, wanted in ((tf.abs, np.abs(expected)), (tf.math.real, expected.real), (tf.math.imag, expected.imag)):
        got = convert(lambda x, part=part: part(tf.signal.rfft(x, [length])), x)
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


def test_complex_tensors_that_stay_so_are_refused(convert: Answer) -> None:
    import tensorflow as tf

    with pytest.raises(ConversionError, match="ONNX has no complex tensors for IRFFT"):
        convert(lambda x: tf.signal.irfft(tf.signal.rfft(x)), np.ones((2, 8), np.float32))


TYPES = {
    "string-int64": (["a", "\u00e9"], [5, -1], 9, "int64", [b"a", "\u00e9".encode(), b"z"], [5, -1, 9]),
    "string-int32": (["a", "b"], [5, -1], 9, "int32", [b"b", b"a", b"z"], [-1, 5, 9]),
    "string-float32": (["a", "b"], [0.5, -1.0], 9.0, "float32", [b"b", b"a", b"z"], [-1.0, 0.5, 9.0]),
    "string-string": (["a", "b"], ["x", "y"], "?", "string", [b"b", b"a", b"z"], ["y", "x", "?"]),
}


@pytest.mark.parametrize("types", TYPES)
def test_words_are_looked_up(convert: Answer, types: str) -> None:
    import tensorflow as tf

    keys, values, default, kind, words, expected = TYPES[types]
    initializer = tf.lookup.KeyValueTensorInitializer(keys, tf.constant(values, kind))
    table = tf.lookup.StaticHashTable(initializer, default)
    got = convert(lambda self, x: self.table.lookup(x), np.array(words, object), table=table)
    assert got.tolist() == expected


@pytest.mark.parametrize("kind", ["int64", "float32", "string"])
def test_numbers_are_looked_up(convert: Answer, kind: str) -> None:
    import tensorflow as tf

    values, default = (["x", "y"], "?") if kind == "string" else ([1, 2], 0)
    initializer = tf.lookup.KeyValueTensorInitializer(tf.constant([10, -20], tf.int64), tf.constant(values, kind))
    table = tf.lookup.StaticHashTable(initializer, default)
    got = convert(lambda self, x: self.table.lookup(x), np.array([[-20, 3], [10, 10]]), table=table)
    assert got.tolist() == [[values[1], default], [values[0], values[0]]]


def test_one_bucket_of_unknown_words_needs_no_hash_and_several_do(convert: Answer) -> None:
    import tensorflow as tf

    words = np.array([b"a", b"bc", b""], object)
    assert convert(lambda x: tf.strings.to_hash_bucket_fast(x, 1), words).tolist() == [0, 0, 0]
    with pytest.raises(ConversionError, match="ONNX has no StringToHashBucketFast with several buckets"):
        convert(lambda x: tf.strings.to_hash_bucket_fast(x, 7), words)


def test_every_handler_is_registered_where_tf2onnx_looks() -> None:
    from converters.tensorflow.onnx_export import OPSET, register

    register()
    from tf2onnx.handler import tf_op

    mapping = tf_op.create_mapping(OPSET, [])
    assert {name: mapping[name][0].__self__ for name in HANDLERS} == HANDLERS
