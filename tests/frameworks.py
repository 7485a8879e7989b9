"""Top-level packages of the frameworks, which only the converters and runtimes that need them import."""

FRAMEWORKS = {
    "torch",
    "tensorflow",
    "keras",
    "sklearn",
    "skops",
    "xgboost",
    "lightgbm",
    "catboost",
    "mxnet",
    "skl2onnx",
    "onnxmltools",
    "tf2onnx",
}
