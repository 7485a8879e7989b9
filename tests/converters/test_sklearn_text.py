"""Vectorizers as ONNX against scikit-learn: how texts are split, lowered and counted."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfTransformer, TfidfVectorizer

from converters.graph import open_session, save_model
from converters.sklearn.export import to_onnx
from converters.sklearn.inputs import plan_inputs
from converters.sklearn.sentences import sentences
from converters.sklearn.tokens import DOTTED_I, LOCALE
from model_store.errors import ConversionError
from model_store.manifest import TensorSpec

pytestmark = pytest.mark.filterwarnings("ignore")  # skl2onnx's, of itself

DOCUMENTS = [
    "The cat sat on the mat.",
    "A dog ate the cat's FOOD, all of it!",
    "naïve users: don't panic in İstanbul",
    "i like c++ and c# and a b c",
    "Straße 中文字 x_1 12 ½ e\u0301te\u0301",
]


def counted(vectorizer: Any, texts: list[str], folder: Path) -> np.ndarray:
    """What the vectorizer's ONNX form makes of the texts."""
    columns = vectorizer.transform(["x"]).shape[1]
    proto = to_onnx(vectorizer, plan_inputs(vectorizer, None), [TensorSpec("output", "FP32", (-1, columns))])
    session: onnxruntime.InferenceSession = open_session(save_model(proto, folder / "model"))
    (output,) = session.run(None, {"input": np.array(texts, dtype=object)})
    return np.asarray(output)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"lowercase": False},
        {"binary": True, "ngram_range": (1, 2)},
        {"ngram_range": (2, 3)},
        {"stop_words": "english"},
        {"stop_words": ["the", "and", "a"], "ngram_range": (1, 3)},
        {"token_pattern": r"(?u)\b\w+\b"},
        {"token_pattern": r"\w{3,}"},
        {"token_pattern": r"\b(\w\w+)\b", "lowercase": False},
        {"token_pattern": r"\S+", "lowercase": False},
        {"token_pattern": r"[^\s]+", "lowercase": False, "ngram_range": (1, 2)},
        {"vocabulary": ["cat", "The", "the cat", "the", "missing"]},
        {"vocabulary": {"cat": 0, "dog": 1}, "ngram_range": (1, 2)},
        {"max_features": 5, "min_df": 1},
        {"analyzer": "char"},
        {"analyzer": "char", "ngram_range": (1, 3)},
        {"analyzer": "char", "ngram_range": (2, 2), "lowercase": False},
        {"analyzer": "char_wb", "ngram_range": (2, 3)},
        {"analyzer": "char_wb", "ngram_range": (4, 5)},
        {"analyzer": "char_wb", "ngram_range": (3, 3), "lowercase": False},
    ],
    ids=str,
)
def test_terms_are_counted_as_scikit_learn_counts_them(settings: dict[str, Any], tmp_path: Path) -> None:
    vectorizer = CountVectorizer(**settings).fit(DOCUMENTS)
    texts = [text.decode() for text in sentences([vectorizer])] + DOCUMENTS
    assert counted(vectorizer, texts, tmp_path).tolist() == vectorizer.transform(texts).toarray().tolist()


def test_a_batch_without_any_word_counts_nothing(tmp_path: Path) -> None:
    assert not counted(CountVectorizer().fit(DOCUMENTS), ["", " ", "."], tmp_path).any()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"norm": "l1"},
        {"norm": None, "use_idf": False},
        {"sublinear_tf": True, "smooth_idf": False},
        {"binary": True},
    ],
    ids=str,
)
def test_weights_are_scikit_learn_s(settings: dict[str, Any], tmp_path: Path) -> None:
    vectorizer = TfidfVectorizer(**settings).fit(DOCUMENTS)
    texts = [text.decode() for text in sentences([vectorizer])]
    got = counted(vectorizer, texts, tmp_path)
    np.testing.assert_allclose(got, vectorizer.transform(texts).toarray(), rtol=1e-6, atol=1e-7)


def test_weighting_counts_is_a_step_of_its_own(tmp_path: Path) -> None:
    counts = np.array([[3, 0, 1], [0, 0, 0], [1, 1, 0]], np.float32)
    transformer = TfidfTransformer(sublinear_tf=True).fit(counts)
    proto = to_onnx(transformer, plan_inputs(transformer, None), [TensorSpec("output", "FP32", (-1, 3))])
    (output,) = open_session(save_model(proto, tmp_path / "m")).run(None, {"input": counts})
    np.testing.assert_allclose(output, transformer.transform(counts).toarray(), rtol=1e-6)


def test_lower_case_is_python_s_for_every_letter_but_one() -> None:
    """Greek's sigma depends on its neighbours, so it is refused; all other letters are the same anywhere."""
    node = helper.make_node("StringNormalizer", ["x"], ["y"], case_change_action="LOWER", locale=LOCALE)
    texts = [helper.make_tensor_value_info(name, TensorProto.STRING, [None]) for name in "xy"]
    graph = helper.make_graph([node], "lower", texts[:1], texts[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    letters = [chr(code) for code in range(1, 0x110000) if not 0xD800 <= code < 0xE000]
    (lowered,) = session.run(None, {"x": np.array(letters, dtype=object)})
    assert [letter for letter, low in zip(letters, lowered, strict=True) if low != letter.lower()] == [DOTTED_I]


@pytest.mark.parametrize(
    ("vectorizer", "told"),
    [
        (CountVectorizer(tokenizer=str.split, token_pattern=None), "calls a tokenizer of the user's own"),
        (CountVectorizer(preprocessor=str.lower), "calls a preprocessor of the user's own"),
        (CountVectorizer(analyzer=str.split), "calls an analyzer of the user's own"),
        (TfidfVectorizer(strip_accents="unicode"), "strips accents, for which ONNX has no operator"),
        (CountVectorizer(token_pattern=r"[a-z]+"), r"token pattern '[a-z]+': RE2 may read it otherwise"),
        (CountVectorizer(token_pattern=r"\S+"), "keeps marks that ONNX Runtime's lower case drops"),
        (CountVectorizer(analyzer="char_wb", ngram_range=(1, 2)), "with the blank as a term of its own"),
        (CountVectorizer(vocabulary=["οδος", "cat"]), "the Greek letter sigma"),
        (HashingVectorizer(n_features=32), "HashingVectorizer spreads words over many columns"),
    ],
)
def test_what_has_no_equal_in_onnx_is_refused_with_the_reason(vectorizer: Any, told: str) -> None:
    vectorizer.fit(DOCUMENTS)
    with pytest.raises(ConversionError, match=re.escape(told)):
        to_onnx(vectorizer, plan_inputs(vectorizer, None), [TensorSpec("output", "FP32", (-1, 1))])


def test_sentences_bring_known_words_strangers_and_nothing() -> None:
    vectorizer = CountVectorizer(stop_words=["the"]).fit(["the zebra runs"])
    texts = [text.decode() for text in sentences([vectorizer])]
    assert "" in texts
    joined = " ".join(texts)
    assert all(word in joined for word in ("zebra", "ZEBRA", "the", "unseen", "İstanbul", "\n"))
