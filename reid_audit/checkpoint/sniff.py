"""What a file is, by its first bytes. The suffix is never believed."""

from __future__ import annotations

import re
from enum import StrEnum

from reid_audit.checkpoint.danger import PICKLE
from reid_audit.checkpoint.formats import FOREIGN, SAVE
from reid_audit.checkpoint.hunt import begins_with_attack
from reid_audit.checkpoint.readable import as_text, recognised
from reid_audit.errors import CheckpointError

HEAD_BYTES = 4096
LEGACY_MAGIC = re.compile(
    rb"\x80[\x02-\x05](\x95.{8})?\x8a\x0a" + re.escape(b"l\xfc\x9cF\xf9 j\xa8P\x19") + rb"\.", re.DOTALL
)
"""torch's magic number, pickled by any protocol."""


class Container(StrEnum):
    """Formats that are read."""

    SAFETENSORS = "safetensors"
    ZIP = "torch-zip"
    LEGACY = "torch-legacy"
    PICKLE = "pickle"
    """A pickle without torch's magic number."""


def sniff(head: bytes, size: int, name: str = "") -> Container:
    """Container of a file from its first ``HEAD_BYTES`` bytes and its size.

    ``name`` is the file's, for the remedy. Raises CheckpointError for everything that is not read, naming what it
    seems to be.
    """
    if size == 0:
        raise CheckpointError(
            "the file is empty", closest="nothing to compare with", remedy="download or save it again"
        )
    if head.startswith(b"PK\x03\x04"):
        return Container.ZIP
    if LEGACY_MAGIC.match(head):
        return Container.LEGACY
    if head[5:9] == b"\0\0\0{":
        return Container.SAFETENSORS
    if (head[:1] == b"\x80" and PICKLE.match(head)) or begins_with_attack(head):
        return Container.PICKLE
    readable = recognised(head, name)
    if readable is not None:
        raise CheckpointError(f"this is {readable.name}", closest=readable.closest, remedy=readable.remedy)
    if _looks_like_pickle_zero(head):
        return Container.PICKLE
    if as_text(head) is not None:
        raise _unknown("text")
    for foreign in FOREIGN:
        if foreign.pattern.match(head):
            raise CheckpointError(
                f"this is {foreign.name}", closest="recognised by its first bytes", remedy=foreign.remedy
            )
    if head[8:9] == b"{":
        return Container.SAFETENSORS
    raise _unknown("of no known format")


def _unknown(kind: str) -> CheckpointError:
    return CheckpointError(
        f"the file is {kind}, not a checkpoint",
        closest="read are safetensors and torch.save files (zip or legacy)",
        remedy=SAVE,
    )


def _looks_like_pickle_zero(head: bytes) -> bool:
    """Protocol 0 has no magic: a global or a mark first, a STOP somewhere."""
    return bool(re.match(rb"(c[\w.]+\n[\w.]+\n|\(|\]|\}|I\d|S'|V\w)", head)) and b"." in head and head[:2] != b"{\n"
