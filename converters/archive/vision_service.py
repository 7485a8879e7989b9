"""Whether a copy of MXNet Model Server's vision service is still the standard one. It is parsed, never run.

The text differs between releases, so it is not compared. What counts is that nothing is computed besides what the
standard service does: a copy is standard when it

- defines the one class `MXNetVisionService` with its usual methods, and at most `handle` and `_service` beside it,
- imports only the modules of MMS that the service needs,
- calls only what the standard service calls, and all of `read`, `resize`, `transform_shape`, `top_probability`,
- has no arithmetic, no numbers other than its own, and no slice with a step (which turns colours round).

Whoever changes what goes into the network or what comes out needs one of these. Anything else is taken for a custom
handler, which needs trust: the mistake on the safe side. The modules that it imports (`mxnet_model_service`,
`mxnet_utils`) are taken for MMS's own.
"""

from __future__ import annotations

import ast
from pathlib import Path

from model_store.archive_manifest import read_bounded
from model_store.errors import SourceError

LARGEST_SERVICE_BYTES = 1 << 20

_CLASS = "MXNetVisionService"
_BASES = {"MXNetBaseService", "MXNetModelService", "object"}
_METHODS = {"preprocess", "_preprocess", "postprocess", "_postprocess"}
_MODULES = {
    "__future__", "logging", "mxnet_model_service", "mxnet_utils", "mxnet_utils.image", "mxnet_utils.ndarray",
    "mms.model_service.mxnet_model_service", "mms.utils.mxnet", "mms.utils.mxnet.image", "mms.utils.mxnet.ndarray",
    "dms.model_service.mxnet_model_service", "dms.utils.mxnet", "utils.mxnet_utils", "mms.utils.mxnet_utils",
}  # fmt: skip
_NEEDED_CALLS = {"read": 1, "resize": 3, "transform_shape": 1, "top_probability": 2}
"""Name -> how many arguments the standard service gives it without a keyword."""
_CALLS = {
    *_NEEDED_CALLS,
    "enumerate", "append", "hasattr", "len", "get", "warn", "warning", "error", "initialize", "handle", "format", "str",
    _CLASS,
}  # fmt: skip
_KEYWORDS = {"top", "exc_info"}
_NUMBERS = {0, 1, 2, 3}
"""Indexes of inputs and dimensions."""
_USUAL_TOP = 5
_FORBIDDEN = (
    ast.AugAssign, ast.Lambda, ast.Delete, ast.Global, ast.Nonlocal, ast.AsyncFunctionDef, ast.Await, ast.Yield,
    ast.YieldFrom, ast.NamedExpr, ast.IfExp, ast.DictComp, ast.SetComp,
)  # fmt: skip


def standard_top(file: Path) -> int | None:
    """How many classes the service in `file` answers with, when it is the standard one; None when it is not."""
    try:
        tree = ast.parse(read_bounded(file, LARGEST_SERVICE_BYTES, file.name))
    except (SourceError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None  # Python 2, or no Python at all
    nodes = list(ast.walk(tree))
    tops = {id(node.value) for node in nodes if isinstance(node, ast.keyword) and node.arg == "top"}
    if not _has_usual_shape(tree) or not all(_is_usual(node) for node in nodes if id(node) not in tops):
        return None
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    if not {_name(call) for call in calls} >= set(_NEEDED_CALLS):
        return None
    return next((_top(call) for call in calls if _name(call) == "top_probability"), None)


def _has_usual_shape(tree: ast.Module) -> bool:
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    if [each.name for each in classes] != [_CLASS] or not all(map(_is_top_level, tree.body)):
        return False
    return all(map(_is_member, classes[0].body)) and {_last(base) for base in classes[0].bases} <= _BASES


def _is_top_level(node: ast.stmt) -> bool:
    match node:
        case ast.Import() | ast.ImportFrom() | ast.ClassDef():
            return True
        case ast.FunctionDef(name="handle"):
            return True
        case ast.Assign(targets=[ast.Name(id="_service")], value=ast.Call(func=ast.Name(id=called), args=[])):
            return called == _CLASS
        case _:
            return _is_text(node)


def _is_member(node: ast.stmt) -> bool:
    return _is_text(node) or (isinstance(node, ast.FunctionDef) and node.name in _METHODS)


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_usual(node: ast.AST) -> bool:
    match node:
        case ast.Import(names=names):
            return {each.name for each in names} <= _MODULES
        case ast.ImportFrom(module=module):
            return module in _MODULES
        case ast.ClassDef(decorator_list=decorators, keywords=keywords):
            return not decorators and not keywords
        case ast.FunctionDef(decorator_list=decorators):
            return not decorators
        case ast.Call(args=arguments, keywords=keywords):
            name = _name(node)
            usual = name in _CALLS and {each.arg for each in keywords} <= _KEYWORDS
            return usual and len(arguments) == _NEEDED_CALLS.get(name or "", len(arguments))
        case ast.BinOp(op=ast.Mult(), left=ast.List()) | ast.BinOp(op=ast.Mod(), left=ast.Constant(value=str())):
            return True  # `[message] * batch_size`, and a text that is filled in
        case ast.BinOp():
            return False
        case ast.UnaryOp(op=operator):
            return isinstance(operator, ast.Not)
        case ast.Slice(step=step):
            return step is None
        case ast.keyword(arg="top", value=value):
            return isinstance(value, ast.Constant) and isinstance(value.value, int) and value.value > 0
        case ast.Constant(value=bool() | None | str()):
            return True
        case ast.Constant(value=number):
            return number in _NUMBERS
        case _:
            return not isinstance(node, _FORBIDDEN)


def _name(call: ast.Call) -> str | None:
    return _last(call.func)


def _last(node: ast.expr) -> str | None:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else None


def _top(call: ast.Call) -> int:
    values = [each.value.value for each in call.keywords if each.arg == "top" and isinstance(each.value, ast.Constant)]
    return next((value for value in values if isinstance(value, int)), _USUAL_TOP)
