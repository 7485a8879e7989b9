"""scikit-learn sources as users save them: pipelines, tables of mixed columns, texts, boosting inside pipelines.

Single estimators at their settings are `sklearn_estimators.py`'s.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.sources.sklearn_writing import (
    case,
    gone,
    numbers,
    of_places,
    on_numbers,
    on_people,
    on_reviews,
    saved,
)
from tests.sources.table import Built, SourceCase

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
