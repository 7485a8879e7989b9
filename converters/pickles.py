"""Which names a pickle would import, read without unpickling, and which of them only rebuild tensors."""

from __future__ import annotations

import pickletools
import re
from pathlib import Path
from typing import BinaryIO

HARMLESS = frozenset(
    {
        "collections.OrderedDict",
        "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_parameter",
        "torch.Size",
        "torch.device",
        "torch.serialization._get_layout",
        "torch.storage.UntypedStorage",
    }
)
_TORCH_DATA = re.compile(
    r"torch\.(\w+Storage|u?int\d+|float\d+\w*|bfloat16|complex\d+|bool|q?u?int\d+|"
    r"half|double|float|long|short|int)"
)


class UnreadablePickle(ValueError):
    """The bytes are no pickle, or one whose imports can't be told without running it."""


TORCH_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""What torch.save wrote before PyTorch 1.6 opens with: a pickle of one number."""
TORCH_STREAM_PICKLES = 5
"""The number, the protocol, the machine, the object, the keys of its tensors; then raw tensors."""


def pickle_globals(data: bytes | BinaryIO) -> list[str]:
    """Dotted names that unpickling `data` would import, in order; of a file, it reads one pickle from where it stands.

    Opcodes that take a name from the stack or from the extension registry are not followed: they raise
    `UnreadablePickle`. PyTorch writes protocol 2, which has none of them.
    """
    names: list[str] = []
    strings: list[str] = []
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name in ("GLOBAL", "INST"):
                names.append(str(argument).replace(" ", "."))
            elif opcode.name == "STACK_GLOBAL" or opcode.name.startswith("EXT"):
                raise UnreadablePickle(".".join(strings[-2:]) or opcode.name)
            elif isinstance(argument, str):
                strings.append(argument)
    except UnreadablePickle:
        raise
    except Exception as error:
        # pickletools raises ValueError, UnicodeDecodeError, struct errors and more on garbage.
        raise UnreadablePickle(f"{type(error).__name__}: {error}") from error
    return names


def harmless(name: str) -> bool:
    """Whether importing and calling `name` can only rebuild tensors and plain containers."""
    return name in HARMLESS or _TORCH_DATA.fullmatch(name) is not None


def torch_stream_globals(source: Path) -> list[str]:
    """Dotted names that loading a file of the older torch.save would import. Raises `UnreadablePickle` for another
    file, and `OSError`."""
    with source.open("rb") as file:
        if file.read(len(TORCH_MAGIC)) != TORCH_MAGIC:
            raise UnreadablePickle("it is no file of the older torch.save")
        file.seek(0)
        return [name for _ in range(TORCH_STREAM_PICKLES) for name in pickle_globals(file)]
