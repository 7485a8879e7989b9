"""scikit-learn sources as users save them: pipelines, tables of mixed columns, texts, boosting inside pipelines.

Single estimators at their settings are `sklearn_estimators.py`'s.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.sources.table import Built, Call, SourceCase, Tensors

ROWS = 240
Rows = Callable[[Tensors], Any]


def rng() -> np.random.Generator:
    return np.random.default_rng(11)


def numbers(columns: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """float64[ROWS, columns] and three classes."""
    rows = rng().normal(3, 2, (ROWS, columns))
    return rows, (rows[:, 0] > 3).astype(int) + (rows[:, 1] + rows[:, 2] > 7)


def people() -> Any:
    """A DataFrame as tabular exercises have it: whole and broken numbers, text, codes, flags, gaps."""
    import pandas

    random = rng()
    return pandas.DataFrame(
        {
            "age": random.integers(18, 80, ROWS),
            "income (EUR)": random.normal(30_000, 9_000, ROWS).round(2),
            "city": random.choice(["Bonn", "Paris", "Rome", "Zürich"], ROWS),
            "plan": random.choice([1, 2, 5], ROWS),
            "member": random.random(ROWS) < 0.5,
            "note": random.choice(["very good", "bad service, slow", "it's okay", "Good food!"], ROWS),
            "id": np.arange(ROWS),
        }
    )


def gone(frame: Any, column: str, every: int) -> Any:
    """The frame with gaps in a column."""
    frame = frame.copy()
    frame[column] = frame[column].where(np.arange(len(frame)) % every != 0)
    return frame


def approved(frame: Any) -> np.ndarray:
    return np.where(frame["income (EUR)"] / 1000 + frame["age"] > 75, "yes", "no")


def columns_of(frame: Any, names: dict[str, tuple[str, str]]) -> tuple[Tensors, Rows]:
    """Tensors of a frame's columns, public name -> (column, datatype), and the way back to a frame."""
    import pandas

    dtypes = {"FP32": np.float32, "FP64": np.float64, "INT64": np.int64, "BOOL": np.bool_}

    def tensor(column: str, datatype: str) -> np.ndarray:
        values = frame[column]
        if datatype == "BYTES":
            return texts(["" if pandas.isna(value) else str(value) for value in values]).reshape(-1, 1)
        return values.to_numpy().astype(dtypes[datatype]).reshape(-1, 1)

    def rows(tensors: Tensors) -> Any:
        found = {}
        for public, (column, datatype) in names.items():
            values = tensors[public].reshape(-1)
            if datatype == "BYTES":
                values = np.array([item.decode() or np.nan for item in values], dtype=object)
            found[column] = pandas.Series(values, dtype=values.dtype)
        for column in frame.columns:
            if column not in found:
                found[column] = pandas.Series(np.zeros(len(values)))
        return pandas.DataFrame(found)[list(frame.columns)]

    return {public: tensor(*what) for public, what in names.items()}, rows


def texts(values: Any) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    array[:] = [value.encode() for value in values]
    return array


def answers(model: Any, rows: Any) -> Tensors:
    """The model's own answers under the public names."""
    predicted = np.asarray(model.predict(rows))
    if not hasattr(model, "classes_"):
        if hasattr(model, "transform"):
            return {"label": predicted.astype(np.int64), "scores": np.asarray(model.transform(rows))}
        return {"output": predicted.reshape(len(predicted), -1)}
    label = texts(predicted.ravel()) if predicted.dtype.kind in "OSU" else predicted.astype(np.int64)
    found: Tensors = {"label": label.reshape(-1) if isinstance(model.classes_, np.ndarray) else label}
    if not hasattr(model, "predict_proba"):
        return found
    probabilities = model.predict_proba(rows)
    if isinstance(probabilities, list):
        return found | {f"probabilities_{index}": each for index, each in enumerate(probabilities)}
    return found | {"probabilities": probabilities}


def saved(folder: Path, model: Any, how: str = "skops") -> Path:
    """The model in one of the ways that users save models."""
    import joblib
    import skops.io

    source = folder / f"model.{how}"
    if how == "skops":
        skops.io.dump(model, source)
    elif how == "pkl":
        source.write_bytes(pickle.dumps(model, protocol=2))
    else:  # joblib compresses by the name's end: .joblib not at all, .z .gz .bz2 .xz
        joblib.dump(model, source)
    return source


def built(source: Path, model: Any, tensors: Tensors, rows: Rows | None = None) -> Built:
    """Answers for the first row, and for the first five."""
    name = next(iter(tensors))
    rows = rows or (lambda given: given[name])
    calls = []
    for count in (1, 5):
        some = {key: array[:count] for key, array in tensors.items()}
        calls.append(Call(some, answers(model, rows(some))))
    return Built(source, tuple(calls))


def on_numbers(
    make: Callable[[], Any], how: str = "skops", *, target: str = "classes", datatype: Any = np.float32
) -> Any:
    """A case's builder for a model of a matrix."""

    def build(folder: Path) -> Built:
        rows, classes = numbers()
        targets = {
            "classes": classes,
            "words": np.array(["low", "middle", "high"])[classes],
            "value": np.exp(rows[:, 0] / 4) + rows[:, 1],
            "two": np.stack([classes, rows[:, 3] > 3], axis=1).astype(int),
            "none": None,
        }
        model = make().fit(rows, targets[target])
        tensors = {"input": rows[:5].astype(datatype)}
        return built(saved(folder, model, how), model, tensors)

    return build


def on_people(
    make: Callable[[], Any],
    names: dict[str, tuple[str, str]],
    how: str = "skops",
    *,
    value: bool = False,
    change: Callable[[Any], Any] = lambda frame: frame,
) -> Any:
    """A case's builder for a model of a DataFrame; `names` is public name -> (column, datatype)."""

    def build(folder: Path) -> Built:
        frame = change(people())
        target = frame["age"] * 2.0 + frame["plan"] if value else approved(people())
        model = make().fit(frame, target)
        tensors, rows = columns_of(frame, names)
        return built(saved(folder, model, how), model, tensors, rows)

    return build


REVIEWS = (
    "The food was very good, and the staff was friendly.",
    "Bad service. We waited for an hour!",
    "It's not what I'd expect; don't go there",
    "Très bon café, Straße und Brücke",
    "GOOD GOOD good... and cheap",
    "never again, the worst food in town",
    "A quiet place, with 2 rooms and snake_case tables",
    "good value for 12.50 each",
)
UNSEEN = (
    "Good food! Bad staff, I don't know",
    "",
    "TRÈS BON   restaurant\n\nin İstanbul",
    "x",
    "the\tbest_place ½ in town -- never closed",
)


def on_reviews(make: Callable[[], Any], how: str = "skops") -> Any:
    """A case's builder for a model of texts."""

    def build(folder: Path) -> Built:
        target = np.array(["up", "down", "down", "up", "up", "down", "up", "up"] * 3)
        model = make().fit(list(REVIEWS) * 3, target)
        tensors = {"input": texts(UNSEEN)}
        return built(saved(folder, model, how), model, tensors, lambda given: [t.decode() for t in given["input"]])

    return build


NUMBERS = {"age": ("age", "FP32"), "income_EUR": ("income (EUR)", "FP32")}
CITY = {"city": ("city", "BYTES")}
PLAN = {"plan": ("plan", "INT64")}
TWO_NUMBERS = ["age", "income (EUR)"]


def scaled_logistic() -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression())


def scaled(model: Any) -> Any:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), model)


def prepared_columns() -> Any:
    """Numbers imputed and scaled, categories imputed and one-hot, the rest dropped."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    return ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), TWO_NUMBERS),
            (
                "categories",
                make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")),
                ["city"],
            ),
        ]
    )


def columns_logistic() -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    return make_pipeline(prepared_columns(), LogisticRegression(max_iter=500))


def columns_codes_forest() -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

    columns = ColumnTransformer(
        [
            ("codes", OneHotEncoder(handle_unknown="ignore"), ["plan"]),
            ("words", OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["city"]),
            ("flags", OneHotEncoder(drop="if_binary"), ["member"]),
            ("rest", "passthrough", TWO_NUMBERS),
        ]
    )
    return make_pipeline(columns, RandomForestClassifier(15, random_state=0))


def columns_by_type() -> Any:
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler, TargetEncoder

    columns = make_column_transformer(
        (MinMaxScaler(), make_column_selector(dtype_include=np.number)),
        (TargetEncoder(random_state=0), ["city"]),
    )
    return make_pipeline(columns, Ridge())


def columns_with_text() -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import GradientBoostingClassifier
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import RobustScaler

    columns = ColumnTransformer(
        [("text", TfidfVectorizer(ngram_range=(1, 2)), "note"), ("numbers", RobustScaler(), TWO_NUMBERS)]
    )
    return make_pipeline(columns, GradientBoostingClassifier(n_estimators=15, max_depth=2, random_state=0))


def columns_by_place() -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import KBinsDiscretizer, StandardScaler

    columns = ColumnTransformer(
        [
            ("bins", KBinsDiscretizer(4, quantile_method="averaged_inverted_cdf"), [0]),
            ("scaled", StandardScaler(), slice(1, 3)),
        ],
        remainder="passthrough",
    )
    return make_pipeline(columns, Ridge())


def search() -> Any:
    from sklearn.model_selection import GridSearchCV

    return GridSearchCV(columns_logistic(), {"logisticregression__C": [0.1, 1.0]}, cv=2)


def voting() -> Any:
    from sklearn.ensemble import RandomForestClassifier, VotingClassifier
    from sklearn.naive_bayes import GaussianNB

    members = [("a", scaled_logistic()), ("b", RandomForestClassifier(7, random_state=0)), ("c", GaussianNB())]
    return VotingClassifier(members, voting="soft", weights=[2, 1, 1])


def stacking() -> Any:
    from sklearn.ensemble import ExtraTreesClassifier, StackingClassifier
    from sklearn.svm import LinearSVC

    members = [("a", scaled(LinearSVC())), ("b", ExtraTreesClassifier(7, random_state=0))]
    return StackingClassifier(members, scaled_logistic()[-1], cv=2)


def calibrated() -> Any:
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.svm import LinearSVC

    return CalibratedClassifierCV(scaled(LinearSVC()), cv=2)


def log_target() -> Any:
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.linear_model import Ridge

    return TransformedTargetRegressor(scaled(Ridge()), func=np.log1p, inverse_func=np.expm1, check_inverse=False)


def logs() -> Any:
    from sklearn.linear_model import Lasso
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    return make_pipeline(FunctionTransformer(np.square), FunctionTransformer(np.log1p), Lasso(0.01))


def union() -> Any:
    from sklearn.decomposition import PCA
    from sklearn.feature_selection import SelectKBest
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import FeatureUnion, make_pipeline
    from sklearn.preprocessing import PolynomialFeatures

    parts = FeatureUnion(
        [("pca", PCA(2, random_state=0)), ("best", SelectKBest(k=2))], transformer_weights={"pca": 0.5}
    )
    return make_pipeline(parts, PolynomialFeatures(2), LogisticRegression(max_iter=2000))


def nested() -> Any:
    """A pipeline inside a column transformer inside a pipeline that selects and reduces."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.linear_model import SGDClassifier
    from sklearn.pipeline import make_pipeline

    return make_pipeline(prepared_columns(), TruncatedSVD(3, random_state=0), SGDClassifier(random_state=0))


def words(vectorizer: Any, model: Any) -> Any:
    from sklearn.pipeline import make_pipeline

    return make_pipeline(vectorizer, model)


def tfidf_logistic() -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    return words(TfidfVectorizer(), LogisticRegression())


def bigrams_bayes() -> Any:
    from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
    from sklearn.naive_bayes import MultinomialNB
    from sklearn.pipeline import make_pipeline

    vectorizer = CountVectorizer(stop_words="english", ngram_range=(1, 3), token_pattern=r"(?u)\b\w+\b")
    return make_pipeline(vectorizer, TfidfTransformer(sublinear_tf=True), MultinomialNB())


def characters() -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    return words(TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4)), LogisticRegression())


def words_and_characters() -> Any:
    from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
    from sklearn.pipeline import FeatureUnion
    from sklearn.svm import LinearSVC

    parts = FeatureUnion(
        [
            ("words", TfidfVectorizer(norm="l1", max_df=0.9)),
            ("characters", CountVectorizer(analyzer="char", ngram_range=(1, 2), binary=True, lowercase=False)),
        ]
    )
    return words(parts, LinearSVC())


def hashed() -> Any:
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.linear_model import SGDClassifier

    return words(HashingVectorizer(n_features=2**18), SGDClassifier(random_state=0))


def forest() -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(9, random_state=0)


def clusters() -> Any:
    from sklearn.cluster import KMeans

    return scaled(KMeans(3, random_state=0, n_init=1))


def histogram() -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_iter=8, categorical_features="from_dtype")


def with_categories(frame: Any) -> Any:
    return frame[["age", "income (EUR)", "city"]].assign(city=frame["city"].astype("category"))


def xgboost_words() -> Any:
    import xgboost
    from sklearn.pipeline import make_pipeline

    return make_pipeline(prepared_columns(), xgboost.XGBRegressor(n_estimators=8, max_depth=3, n_jobs=1))


def xgboost_alone() -> Any:
    import xgboost

    return xgboost.XGBClassifier(n_estimators=8, max_depth=3, n_jobs=1)


def lightgbm_columns() -> Any:
    import lightgbm
    from sklearn.pipeline import make_pipeline

    return make_pipeline(prepared_columns(), lightgbm.LGBMClassifier(n_estimators=8, verbose=-1, n_jobs=1))


def catboost_model(**settings: Any) -> Any:
    import catboost

    return catboost.CatBoostClassifier(
        iterations=8, depth=3, verbose=0, allow_writing_files=False, thread_count=1, **settings
    )


def custom() -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    from tests.sources.custom_columns import Ratios

    return make_pipeline(Ratios(), LogisticRegression())


def dictionary(folder: Path) -> Built:
    """The model beside its threshold, as one thing."""
    rows, classes = numbers()
    return Built(saved(folder, {"model": forest().fit(rows, classes), "threshold": 0.4}, "joblib"), ())


def of_places(make: Callable[[], Any]) -> Any:
    return on_numbers(make, target="value")


def case(name: str, kind: str, build: Any, expect: Any = "onnx", **fields: Any) -> SourceCase:
    return SourceCase(f"sklearn-{name}", "sklearn", kind, build, expect, **fields)


PIPELINE = "skops file of a pipeline"
COLUMNS = "pipeline fitted on a DataFrame (one input a column)"
TEXTS = "pipeline that reads texts"
PICKLED = "pickle or joblib file (`trust: true`)"
BOOSTED = "estimators of XGBoost, LightGBM and CatBoost, alone or in a pipeline"
TRUSTED = {"trust": True}

CASES: list[SourceCase] = [
    case("scaled-logistic", PIPELINE, on_numbers(scaled_logistic, target="words")),
    case("union-polynomials", PIPELINE, on_numbers(union)),
    case("functions-of-numpy", PIPELINE, on_numbers(logs, target="value")),
    case("voting-of-pipelines", PIPELINE, on_numbers(voting)),
    case("stacking", PIPELINE, on_numbers(stacking, target="words")),
    case("calibrated-pipeline", PIPELINE, on_numbers(calibrated)),
    case("log-target", PIPELINE, on_numbers(log_target, target="value")),
    case("scaled-clusters", PIPELINE, on_numbers(clusters, target="none", datatype=np.float64)),
    case("columns-by-place", PIPELINE, of_places(columns_by_place)),
    case("two-targets", PIPELINE, on_numbers(forest, target="two")),
    case("columns-logistic", COLUMNS, on_people(columns_logistic, NUMBERS | CITY)),
    case(
        "columns-with-gaps",
        COLUMNS,
        on_people(
            columns_logistic, NUMBERS | CITY, change=lambda frame: gone(gone(frame, "income (EUR)", 3), "city", 4)
        ),
    ),
    case(
        "columns-codes-forest",
        COLUMNS,
        on_people(columns_codes_forest, NUMBERS | CITY | PLAN | {"member": ("member", "BOOL")}),
    ),
    case(
        "columns-by-type",
        COLUMNS,
        on_people(
            columns_by_type,
            NUMBERS | CITY | {"plan": ("plan", "FP32"), "id": ("id", "FP32")},
            "joblib",
            value=True,
        ),
        options=TRUSTED,
    ),
    case("columns-with-text", COLUMNS, on_people(columns_with_text, NUMBERS | {"note": ("note", "BYTES")})),
    case("columns-nested", COLUMNS, on_people(nested, NUMBERS | CITY)),
    case(
        "columns-categories-by-dtype",
        COLUMNS,
        on_people(histogram, NUMBERS | CITY, change=with_categories, how="joblib"),
        options=TRUSTED,
    ),
    case("columns-search", COLUMNS, on_people(search, NUMBERS | CITY)),
    case("text-tfidf", TEXTS, on_reviews(tfidf_logistic)),
    case("text-bigrams-stop-words", TEXTS, on_reviews(bigrams_bayes)),
    case("text-characters", TEXTS, on_reviews(characters)),
    case("text-words-and-characters", TEXTS, on_reviews(words_and_characters)),
    case(
        "text-hashed",
        TEXTS,
        on_reviews(hashed),
        "native",
        reason="HashingVectorizer spreads words",
        remark="HashingVectorizer, accents stripped, functions of your own: served by scikit-learn. "
        "TfidfVectorizer and CountVectorizer have an ONNX form.",
    ),
    case("joblib-forest", PICKLED, on_numbers(forest, "joblib", target="words"), options=TRUSTED),
    case("joblib-compressed", PICKLED, on_numbers(scaled_logistic, "gz"), options=TRUSTED),
    case("joblib-xz", PICKLED, on_numbers(scaled_logistic, "xz"), options=TRUSTED),
    case("pickle", PICKLED, on_numbers(voting, "pkl"), options=TRUSTED),
    case(
        "pickle-own-transformer",
        PICKLED,
        on_numbers(custom, "joblib"),
        "native",
        options=TRUSTED,
        reason=r"Ratios \(module tests\.sources\.custom_columns\) is Python of your own, which has to be installed",
        remark="A transformer class of your own runs in scikit-learn; the module that defines it has to be installed "
        "where the model is served.",
    ),
    case(
        "pickle-of-a-dict",
        PICKLED,
        dictionary,
        "refused",
        options=TRUSTED,
        reason="holds a dict with the keys 'model', 'threshold'; expected one fitted estimator",
        remark="A dict or list around the estimator: save the estimator alone.",
    ),
    case("xgboost-alone", BOOSTED, on_numbers(xgboost_alone, "joblib"), options=TRUSTED),
    case("xgboost-columns", BOOSTED, on_people(xgboost_words, NUMBERS | CITY, "joblib", value=True), options=TRUSTED),
    case("lightgbm-columns", BOOSTED, on_people(lightgbm_columns, NUMBERS | CITY, "joblib"), options=TRUSTED),
    case(
        "catboost-scaled",
        BOOSTED,
        on_numbers(lambda: scaled(catboost_model()), "joblib", target="words"),
        options=TRUSTED,
    ),
]
