"""The protobuf messages of all protocols, in a descriptor pool of their own.

In the default pool they would clash with the same messages of client libraries, and of TensorFlow, in this process.
`make proto` compiles each `.proto` file of this folder to a `.binpb` beside it.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor_pool import DescriptorPool

POOL = DescriptorPool()


@cache
def load(name: str) -> None:
    """Adds the messages of the file `name`, without ending, and of what it imports."""
    data = Path(__file__).with_name(f"{name}.binpb").read_bytes()
    for file in descriptor_pb2.FileDescriptorSet.FromString(data).file:
        POOL.Add(file)


def message_class(full_name: str) -> Any:
    """The class of a message of a loaded file, by its full name as `inference.ModelInferRequest`."""
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(full_name))
