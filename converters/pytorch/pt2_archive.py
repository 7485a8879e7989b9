"""Vets a `.pt2` archive before PyTorch loads it.

`torch.export.load` unpickles the sample inputs and some weights and constants, evaluates the text of symbolic
shapes with sympy, and looks operators up by dotted name below `torch`: each of these runs what the file says.
So sample inputs are scanned and left out, other pickles refused, expressions and names of operators held against
a list, and the archive is written anew, so that PyTorch reads what was vetted and nothing else.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from converters.pytorch.archives import ROOT, check_sizes, check_vetted, write_vetted
from converters.pytorch.devices import on_cpu
from converters.pytorch.old_weights import clean_weights
from converters.pytorch.operators import COMPUTING, REACHING_OUT
from converters.pytorch.tree_specs import with_plain_specs
from model_store.errors import SourceError, TrustRequired

OLD_PROGRAM = "serialized_exported_program.json"
OLD_TENSORS = ("serialized_state_dict.pt", "serialized_constants.pt", "serialized_example_inputs.pt")

_OPERATOR = re.compile(
    rf"torch\.ops\.({'|'.join(COMPUTING)}|higher_order)\.\w+(\.\w+)?"
    r"|torch\.(_?sym_\w+|_check|_check_is_size)"
    r"|_operator\.(add|sub|mul|truediv|floordiv|mod|pow|neg|pos|abs|eq|ne|lt|le|gt|ge|and_|or_|not_|getitem)"
    r"|math\.(ceil|floor|trunc|sqrt|pow|log|log2|exp|sin|cos|tan)"
)
_OPERATOR_KEYS = ("target", "as_operator")
_EXPRESSION_WORDS = re.compile(r"[^\W\d]\w*")
_EXPRESSION = re.compile(r"[\w\s+\-*/%(),.<>=&|~!]*")
_SYMBOL = re.compile(r"[suzf]\d+|u_?\d+|zuf\d+")
_FUNCTIONS = frozenset(
    re.findall(
        r"\w+",
        """
        Max Min Mod PythonMod FloorDiv ModularIndexing CleanDiv CeilDiv Where Abs Add Mul Pow Eq Ne Lt Le Gt Ge
        Not And Or Integer Float Rational Symbol TruncToInt TruncToFloat FloorToInt CeilToInt RoundToInt
        RoundDecimal ToFloat IntTrueDiv FloatTrueDiv FloatPow PowByNatural IsNonOverlappingAndDenseIndicator
        Identity int_oo oo True False LShift RShift BitwiseFn_bitwise_and BitwiseFn_bitwise_or
        OpaqueUnaryFn_sqrt OpaqueUnaryFn_exp OpaqueUnaryFn_log OpaqueUnaryFn_log2 and or not
        LessThan GreaterThan StrictLessThan StrictGreaterThan Equality Unequality
        commutative positive nonnegative negative nonzero zero integer real finite even odd
        """,
    )
)
"""What PyTorch writes into symbolic sizes: its own functions of sympy, and assumptions on symbols."""
_QUOTED_SYMBOL = re.compile(rf"\bSymbol\('({_SYMBOL.pattern})'")
"""sympy writes symbols as `Symbol('s40', positive=True)`; no other text in quotes is let through."""


def vet_archive(source: Path, target: Path) -> Path:
    """Writes the archive that PyTorch may load to `target` and returns it.

    Raises `TrustRequired`, naming the import, operator or expression, when loading would run code that the file
    brings, and `SourceError` when the archive is damaged or of a PyTorch that wrote another layout.
    """
    return write_vetted(source, target, _vetted_members)


def check_archive(path: Path) -> None:
    """Raises as `vet_archive` does, for an archive that is loaded as it is."""
    check_vetted(path, _vetted_members)


def _vetted_members(archive: zipfile.ZipFile, source_name: str) -> Iterator[tuple[str, bytes]]:
    infos = [info for info in archive.infolist() if not info.is_dir()]
    check_sizes(infos, source_name)
    roots = {info.filename.split("/", 1)[0] for info in infos if "/" in info.filename}
    if any(info.filename == OLD_PROGRAM for info in infos):
        yield from _vetted_old_members(archive, infos, source_name)
        return
    if len(roots) != 1:
        raise SourceError(f"source {source_name!r} is no archive of torch.export: its members are in several folders")
    prefix = f"{roots.pop()}/"
    for info in infos:
        name = info.filename.removeprefix(prefix)
        if (vetted := _vet_member(name, archive, info, source_name)) is not None:
            yield f"{ROOT}/{name}", vetted


def _vetted_old_members(
    archive: zipfile.ZipFile, infos: list[zipfile.ZipInfo], source_name: str
) -> Iterator[tuple[str, bytes]]:
    """The layout of PyTorch 2.7 and before: the program and three files of torch.save, in no folder."""
    for info in infos:
        where = f"source {source_name!r}: member {info.filename!r}"
        if info.filename == OLD_PROGRAM:
            yield info.filename, _vet_program(archive.read(info), where)
        elif info.filename == "version":
            yield info.filename, archive.read(info)
        elif info.filename in OLD_TENSORS:
            yield info.filename, clean_weights(archive.read(info), where)


def _vet_member(name: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo, source_name: str) -> bytes | None:
    """The bytes to keep, or None for a member that PyTorch need not see."""
    where = f"source {source_name!r}: member {name!r}"
    if name in ("archive_format", "archive_version", "byteorder", ".data/version"):
        return archive.read(info)
    if name.startswith("models/") and name.endswith(".json"):
        return _vet_program(archive.read(info), where)
    if name.startswith("data/sample_inputs/"):
        clean_weights(archive.read(info), where)
        return b""  # the exporter needs no sample inputs
    if name.startswith(("data/weights/", "data/constants/")):
        return _vet_payload(name.rsplit("/", 1)[1], archive.read(info), where)
    if name.startswith("data/aotinductor/"):
        raise TrustRequired(f"{where} is compiled code; export the model with torch.export.save, or say `trust: true`")
    return None


def _vet_payload(name: str, data: bytes, where: str) -> bytes:
    """Raw tensors and their table, which is all that PyTorch may read: nothing is left to unpickle but tensors.

    PyTorch's own reader of archives does not tell large letters from small ones.
    """
    name = name.lower()
    if name.startswith(("custom_obj_", "opaque_obj_")):
        raise TrustRequired(
            f"{where} is an object of a custom class, and loading it runs code; say `trust: true` to allow it"
        )
    if name.endswith(".pt"):  # PyTorch 2.8
        return clean_weights(data, where)
    if name.endswith("_config.json"):
        return _vet_table(data, where)
    return data


def _vet_table(data: bytes, where: str) -> bytes:
    """The table of raw tensors, on the CPU."""
    table = _json(data, where)
    entries = table.get("config", {})
    for entry in entries.values() if isinstance(entries, dict) else ():
        if isinstance(entry, dict) and entry.get("use_pickle"):
            raise TrustRequired(
                f"{where} has pickled tensors (subclasses of torch.Tensor), and loading them runs code; "
                "export plain tensors, or say `trust: true`"
            )
    moved = on_cpu(table)
    return data if moved == table else json.dumps(moved).encode()


def _vet_program(data: bytes, where: str) -> bytes:
    """The program on the CPU, without classes of other libraries among its inputs and outputs."""
    program = _json(data, where)
    for key, value in _strings(program):
        if key in _OPERATOR_KEYS and not _OPERATOR.fullmatch(value):
            raise TrustRequired(
                f"{where} calls {value!r}, which is no operator of PyTorch; say `trust: true` to allow it",
                name=value,
            )
        if key in _OPERATOR_KEYS and value.split(".")[3:4] and value.split(".")[3] in REACHING_OUT:
            raise TrustRequired(
                f"{where} calls {value!r}, which reaches beyond the model; say `trust: true` to allow it", name=value
            )
        if key == "expr_str" and not _safe_expression(value):
            raise TrustRequired(
                f"{where} has a symbolic size {value[:80]!r} that is no arithmetic; say `trust: true` to allow it",
                name=value,
            )
    try:
        plain = on_cpu(with_plain_specs(program))
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{where} is no program of torch.export: {error}") from error
    return data if plain == program else json.dumps(plain).encode()


def _safe_expression(text: str) -> bool:
    text = _QUOTED_SYMBOL.sub("Symbol(s0", text)
    words = _EXPRESSION_WORDS.findall(text)
    plain = _EXPRESSION.fullmatch(text) and not re.search(r"\.\s*[^\W\d]", text)
    return bool(plain) and all(word in _FUNCTIONS or _SYMBOL.fullmatch(word) for word in words)


def _json(data: bytes, where: str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{where} is not JSON: {error}") from error
    return value if isinstance(value, dict) else {}


def _strings(value: Any) -> Iterator[tuple[str, str]]:
    """All texts of a JSON document with the key that they stand under."""
    stack: list[tuple[str, Any]] = [("", value)]
    while stack:
        key, item = stack.pop()
        if isinstance(item, str):
            yield key, item
        elif isinstance(item, dict):
            stack.extend((str(name), each) for name, each in item.items())
        elif isinstance(item, list):
            stack.extend((key, each) for each in item)
