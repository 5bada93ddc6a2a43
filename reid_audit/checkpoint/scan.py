"""Which globals a pickle names, found by walking its opcodes. Nothing is executed."""

from __future__ import annotations

import io
import pickletools
from dataclasses import dataclass
from typing import Any

from reid_audit.checkpoint.globals import Kind, classify
from reid_audit.errors import CheckpointError, UnsafeCheckpointError

COMPUTED = "(a computed name)"
STRINGS = frozenset(
    ["STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"]
)
KEEP = frozenset(["MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT", "PROTO", "FRAME"])
MEMO_GETS = frozenset(["GET", "BINGET", "LONG_BINGET"])
EXTENSIONS = frozenset(["EXT1", "EXT2", "EXT4"])


@dataclass(frozen=True, slots=True)
class Scan:
    """Globals of a pickle, first mention first, each once."""

    names: tuple[str, ...]
    length: int
    """Bytes up to and including STOP."""

    def of(self, kind: Kind) -> tuple[str, ...]:
        """The names of one kind."""
        return tuple(name for name in self.names if (Kind.UNSAFE if name == COMPUTED else classify(name)) is kind)


def scan(programme: bytes) -> Scan:
    """Globals named by ``programme``, up to its first STOP.

    A name put together at run time is reported as ``COMPUTED``, which counts as unsafe; so do extension codes.
    Raises CheckpointError where the opcodes do not parse; globals seen until then still refuse it as unsafe.
    """
    names: dict[str, None] = {}
    tail: list[Any] = []
    memo: dict[int, Any] = {}
    length = 0
    try:
        for opcode, argument, position in pickletools.genops(io.BytesIO(programme)):
            length = (position or 0) + 1
            _step(opcode.name, argument, names, tail, memo)
    except Exception as error:  # genops raises ValueError, UnicodeDecodeError, struct.error and more on garbage
        refuse_unsafe(Scan(tuple(names), length))
        raise CheckpointError(
            "the pickle inside the file is damaged", closest=str(error)[:120], remedy="download or save it again"
        ) from None
    return Scan(tuple(names), length)


def _step(name: str, argument: Any, names: dict[str, None], tail: list[Any], memo: dict[int, Any]) -> None:
    """Follow the two values last pushed: they are what STACK_GLOBAL reads."""
    if name in ("GLOBAL", "INST"):
        names[".".join(str(argument).split(" ", 1))] = None
        tail[:] = [None]
    elif name == "STACK_GLOBAL":
        parts = tail[-2:]
        known = len(parts) == 2 and all(isinstance(part, str) for part in parts)
        names[".".join(parts) if known else COMPUTED] = None
        tail[:] = [None]
    elif name in EXTENSIONS:
        names[COMPUTED] = None
    elif name in STRINGS:
        tail.append(argument)
    elif name in MEMO_GETS:
        tail.append(memo.get(int(argument)))
    elif name == "MEMOIZE":
        memo[len(memo)] = tail[-1] if tail else None
    elif name in KEEP:
        if name not in ("PROTO", "FRAME"):
            memo[int(argument)] = tail[-1] if tail else None
    else:
        tail[:] = [None]
    del tail[:-2]


def refuse_unsafe(found: Scan) -> None:
    """Raise UnsafeCheckpointError naming every unsafe global, if there is one."""
    unsafe = found.of(Kind.UNSAFE)
    if unsafe:
        raise unsafe_error(unsafe)


def unsafe_error(names: tuple[str, ...]) -> UnsafeCheckpointError:
    """The refusal for ``names``."""
    shown = ", ".join(name[:80] for name in names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return UnsafeCheckpointError(
        f"reading the file would import or call {shown}",
        closest="known framework classes are listed in docs/checkpoints.md; these are not among them",
        remedy="save model.state_dict() alone, best as safetensors: safetensors.torch.save_file(...)",
    )
