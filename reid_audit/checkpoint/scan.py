"""Which globals a pickle names, found by walking its opcodes. Nothing is executed."""

from __future__ import annotations

import pickletools
import struct
from dataclasses import dataclass

from reid_audit.checkpoint.globals import Kind, classify
from reid_audit.checkpoint.limits import DEFAULT
from reid_audit.errors import CheckpointError, UnsafeCheckpointError

COMPUTED = "(a computed name)"
LONGEST_NAME = 1000
LARGEST_INDEX = 2**22
"""Of a memory slot; the unpickler would allocate all slots below."""
_LINE, _UNKNOWN = pickletools.UP_TO_NEWLINE, -9
_CODES = {opcode.name: ord(opcode.code) for opcode in pickletools.opcodes}
_SIZES = [_UNKNOWN] * 256
for _opcode in pickletools.opcodes:
    _SIZES[ord(_opcode.code)] = 0 if _opcode.arg is None else _opcode.arg.n
"""Bytes of an opcode's argument; negative: a line, a counted text, or no opcode."""
_COUNTED: dict[int, struct.Struct] = {
    pickletools.TAKEN_FROM_ARGUMENT1: struct.Struct("<B"),
    pickletools.TAKEN_FROM_ARGUMENT4: struct.Struct("<i"),
    pickletools.TAKEN_FROM_ARGUMENT4U: struct.Struct("<I"),
    pickletools.TAKEN_FROM_ARGUMENT8U: struct.Struct("<Q"),
}
_STOP, _STACK_GLOBAL, _BINPUT, _BINGET = (_CODES[n] for n in ("STOP", "STACK_GLOBAL", "BINPUT", "BINGET"))
_NAMED = frozenset(_CODES[name] for name in ("GLOBAL", "INST"))
_EXTENSIONS = frozenset(_CODES[name] for name in ("EXT1", "EXT2", "EXT4"))
_TEXTS = frozenset(_CODES[name] for name in ("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"))
_PUTS = frozenset(_CODES[name] for name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"))
_GETS = frozenset(_CODES[name] for name in ("GET", "BINGET", "LONG_BINGET"))
_SILENT = frozenset(_CODES[name] for name in ("PROTO", "FRAME"))
_ATTENDED = _NAMED | _EXTENSIONS | _TEXTS | _PUTS | _GETS | _SILENT | {_STOP, _STACK_GLOBAL}
_PLAIN = [1 + size if size >= 0 and code not in _ATTENDED else 0 for code, size in enumerate(_SIZES)]
"""Bytes of an opcode and its argument where it needs no attention, else 0."""


@dataclass(frozen=True, slots=True)
class Scan:
    """Globals of a pickle, first mention first, each once."""

    names: tuple[str, ...]
    length: int
    """Bytes up to and including STOP."""

    def of(self, kind: Kind) -> tuple[str, ...]:
        """The names of one kind."""
        return tuple(name for name in self.names if (Kind.UNSAFE if name == COMPUTED else classify(name)) is kind)


def scan(programme: bytes, opcodes: int = DEFAULT.opcodes) -> Scan:
    """Globals named by ``programme``, up to its first STOP.

    A name put together at run time is reported as ``COMPUTED``, which counts as unsafe; so do extension codes.
    Raises CheckpointError where the opcodes do not parse or are more than ``opcodes``; globals seen until then still
    refuse it as unsafe.
    """
    walk = _Walk(programme)
    try:
        length = walk.run(opcodes)
    except (ValueError, IndexError, struct.error) as error:
        refuse_unsafe(Scan(tuple(walk.names), 0))
        raise CheckpointError(
            "the pickle inside the file is damaged", closest=str(error)[:120], remedy="download or save it again"
        ) from None
    return Scan(tuple(walk.names), length)


class _Walk:
    """Steps through opcodes and follows the two values last pushed: they are what STACK_GLOBAL reads."""

    def __init__(self, programme: bytes) -> None:
        self.data = programme
        self.names: dict[str, None] = {}
        self.memo: dict[int, bytes | None] = {}
        self.below: bytes | None = None
        self.top: bytes | None = None

    def run(self, opcodes: int) -> int:
        """Walk to STOP and return the position behind it. Raises ValueError, IndexError or struct.error."""
        data, plain, memo, at = self.data, _PLAIN, self.memo, 0
        for _ in range(opcodes):
            code = data[at]
            skip = plain[code]
            if skip:
                at += skip
                self.below = self.top = None
            elif code == _BINPUT:
                memo[data[at + 1]] = self.top
                at += 2
            elif code == _BINGET:
                self.below, self.top = self.top, memo.get(data[at + 1])
                at += 2
            elif code == _STOP:
                return at + 1
            else:
                at = self._attend(code, at + 1)
        raise ValueError(f"it has more than {opcodes} opcodes")

    def _attend(self, code: int, at: int) -> int:
        start, stop, after = self._argument(code, at)
        if code in _TEXTS:
            self._push(self.data[start:stop] if stop - start <= LONGEST_NAME else None)
        elif code in _PUTS:
            self.memo[self._index(code, start, stop)] = self.top
        elif code in _GETS:
            self._push(self.memo.get(self._index(code, start, stop)))
        elif code in _NAMED:
            middle = self.data.index(b"\n", stop + 1)
            self._name(self.data[start:stop], self.data[stop + 1 : middle])
            after = middle + 1
        elif code == _STACK_GLOBAL:
            self._name(self.below, self.top)
        elif code in _EXTENSIONS:
            self._name(None, None)
        elif code not in _SILENT:
            self._push(None)
        return after

    def _argument(self, code: int, at: int) -> tuple[int, int, int]:
        """Start and stop of an argument's content, and where the next opcode begins."""
        size = _SIZES[code]
        if size >= 0:
            return at, at + size, at + size
        if size == _LINE:
            stop = self.data.index(b"\n", at)
            return at, stop, stop + 1
        if size == _UNKNOWN:
            raise ValueError(f"byte {at - 1} is no opcode: {code:#04x}")
        counter = _COUNTED[size]
        length = counter.unpack_from(self.data, at)[0]
        start = at + counter.size
        if length < 0 or start + length > len(self.data):
            raise ValueError(f"an argument at byte {at} claims {length} bytes")
        return start, start + length, start + length

    def _index(self, code: int, start: int, stop: int) -> int:
        if start == stop:
            return len(self.memo)
        raw = self.data[start:stop]
        index = int(raw) if _SIZES[code] == _LINE else int.from_bytes(raw, "little")
        if not 0 <= index < LARGEST_INDEX:
            raise ValueError(f"it uses memory number {index}")
        return index

    def _push(self, value: bytes | None) -> None:
        self.below, self.top = self.top, value

    def _name(self, module: bytes | None, name: bytes | None) -> None:
        known = module is not None and name is not None
        full = f"{_text(module)}.{_text(name)}" if known else COMPUTED
        self.names[full] = None
        self.below = self.top = None


def _text(raw: bytes | None) -> str:
    return (raw or b"").decode("utf-8", "replace")


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
