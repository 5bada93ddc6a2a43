"""Which globals a pickle names, found by walking its opcodes. Nothing is executed."""

from __future__ import annotations

import pickletools
import struct
from dataclasses import dataclass

from reid_audit.checkpoint.danger import GLOBAL, PICKLE
from reid_audit.checkpoint.globals import Kind, PickledCode, classify
from reid_audit.checkpoint.inert import Placed
from reid_audit.checkpoint.layout import Buffer
from reid_audit.checkpoint.limits import DEFAULT, MIB
from reid_audit.checkpoint.unsafe import unlisted_error, unsafe_error
from reid_audit.errors import CheckpointError

COMPUTED = "(a computed name)"
LONGEST_NAME = 1000
LARGEST_INDEX = 2**22
"""Of a memory slot; the unpickler would allocate all slots below."""
LONG = 1024
"""Bytes from which a text or byte string stays in the file: the reader gets its place. No name is that long."""
HEAD = 2000
"""Bytes of a long text that are looked at."""
COPIED = 32 * MIB
"""Pickles up to this size are copied to be walked, which is faster."""
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
_FRAME, _PROTO = _CODES["FRAME"], _CODES["PROTO"]
_NAMED = frozenset(_CODES[name] for name in ("GLOBAL", "INST"))
_EXTENSIONS = frozenset(_CODES[name] for name in ("EXT1", "EXT2", "EXT4"))
_TEXTS = frozenset(_CODES[name] for name in ("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"))
_SHORT = frozenset(_CODES[name] for name in ("SHORT_BINUNICODE", "SHORT_BINBYTES", "SHORT_BINSTRING"))
_BYTES = frozenset(_CODES[name] for name in ("BINBYTES", "BINBYTES8", "BYTEARRAY8", "BINSTRING")) | _SHORT
_PUTS = frozenset(_CODES[name] for name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"))
_GETS = frozenset(_CODES[name] for name in ("GET", "BINGET", "LONG_BINGET"))
_ATTENDED = _NAMED | _EXTENSIONS | _TEXTS | _PUTS | _GETS | {_STOP, _STACK_GLOBAL, _FRAME, _PROTO}
_PLAIN = [1 + size if size >= 0 and code not in _ATTENDED else 0 for code, size in enumerate(_SIZES)]
"""Bytes of an opcode and its argument where it needs no attention, else 0."""
_FETCH = struct.Struct("<ci")


@dataclass(frozen=True, slots=True)
class Scan:
    """Globals of a pickle, first mention first, each once; and the pickle as it is read."""

    names: tuple[str, ...]
    length: int
    """Bytes up to and including STOP."""
    programme: bytes
    """The pickle; where it holds long texts, these are replaced by persistent ids: numbers into ``placed``."""
    placed: tuple[Placed, ...] = ()
    nested: tuple[bytes, ...] = ()
    """Byte strings inside that look like pickles themselves."""

    def of(self, *kinds: Kind) -> tuple[str, ...]:
        """The names of these kinds."""
        return tuple(name for name in self.names if (Kind.UNSAFE if name == COMPUTED else classify(name)) in kinds)


def scan(
    data: Buffer, opcodes: int = DEFAULT.opcodes, *, start: int = 0, stop: int | None = None, size: int = COPIED
) -> Scan:
    """Globals named by the pickle in ``data`` that begins at ``start``, up to its first STOP before ``stop``.

    A name put together at run time is reported as ``COMPUTED``, which counts as unsafe; so do extension codes.
    Raises CheckpointError where the opcodes do not parse, are more than ``opcodes``, or take more than ``size`` bytes
    without their long texts; globals seen until then still refuse it as unsafe.
    """
    stop = len(data) if stop is None else min(stop, len(data))
    base = start if stop - start <= COPIED else 0
    walk = _Walk(bytes(data[start:stop]) if base == start else data, stop - base)
    try:
        end = walk.run(start - base, opcodes)
        if end - (start - base) - walk.left_out > size:
            raise ValueError(f"it has more than {size} bytes")
    except (ValueError, IndexError, struct.error) as error:
        refuse_unsafe(Scan(tuple(walk.names), 0, b""), "warn", whole=False)
        raise CheckpointError(
            "the pickle inside the file is damaged", closest=str(error)[:120], remedy="download or save it again"
        ) from None
    programme, placed = walk.shortened(start - base, end, base)
    return Scan(tuple(walk.names), end + base - start, programme, placed, tuple(walk.nested))


def glanced(data: bytes, start: int) -> Scan:
    """As ``scan``, of bytes that need be no pickle: where they stop making sense, the names until there, length 0."""
    walk = _Walk(data, len(data))
    try:
        end = walk.run(start, DEFAULT.opcodes)
    except (ValueError, IndexError, struct.error):
        end = start
    return Scan(tuple(walk.names), end - start, b"", (), tuple(walk.nested))


class _Walk:
    """Steps through opcodes and follows the two values last pushed: they are what STACK_GLOBAL reads."""

    def __init__(self, programme: Buffer, stop: int) -> None:
        self.data = programme
        self.stop = stop
        self.names: dict[str, None] = {}
        self.memo: dict[int, bytes | None] = {}
        self.below: bytes | None = None
        self.top: bytes | None = None
        self.frames: list[int] = []
        self.long: list[tuple[int, int, int]] = []
        """Opcode, first byte and end of every long text."""
        self.left_out = 0
        self.nested: list[bytes] = []

    def run(self, at: int, opcodes: int) -> int:
        """Walk to STOP and return the position behind it. Raises ValueError, IndexError or struct.error."""
        data, plain, memo = self.data, _PLAIN, self.memo
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
            elif at >= self.stop:
                raise ValueError("it ends before its end")
            elif code == _STOP:
                return at + 1
            else:
                at = self._attend(code, at + 1)
        raise ValueError(f"it has more than {opcodes} opcodes")

    def _attend(self, code: int, at: int) -> int:
        start, stop, after = self._argument(code, at)
        if code in _TEXTS or code in _BYTES:
            self._content(code, at - 1, start, stop)
        if code in _TEXTS:
            self._push(self.data[start:stop] if stop - start <= LONGEST_NAME else None)
        elif code in _PUTS:
            self.memo[self._index(code, start, stop)] = self.top
        elif code in _GETS:
            self._push(self.memo.get(self._index(code, start, stop)))
        elif code in _NAMED:
            middle = self._line(stop + 1)
            self._name(self.data[start:stop], self.data[stop + 1 : middle])
            after = middle + 1
        elif code == _STACK_GLOBAL:
            self._name(self.below, self.top)
        elif code in _EXTENSIONS:
            self._name(None, None)
        elif code == _FRAME:
            self.frames.append(at - 1)
        elif code != _PROTO:
            self._push(None)
        return after

    def _content(self, code: int, at: int, start: int, stop: int) -> None:
        """A text or byte string: long ones stay in the file, and what looks like a pickle is looked into."""
        if stop - start >= LONG and code not in _SHORT:
            self.long.append((at, start, stop))
            self.left_out += stop - start
        if stop - start > 8 and sum(map(len, self.nested)) < COPIED and self._pickled(start, stop):
            text = bytes(self.data[start : min(stop, start + COPIED)])
            latin = text.decode("utf-8", "replace").encode("latin-1", "replace") if text[:1] == b"\xc2" else text
            self.nested.append(latin)

    def _pickled(self, start: int, stop: int) -> bool:
        """Whether a text or byte string begins like a pickle, or holds lines by which protocols 0 to 2 name globals."""
        if self.data[start] in (0x80, 0xC2):
            return PICKLE.match(bytes(self.data[start : start + 4])) is not None
        if self.data.find(b"\n", start, stop) < 0:
            return False
        return GLOBAL.search(bytes(self.data[start : min(stop, start + COPIED)])) is not None

    def shortened(self, start: int, end: int, base: int) -> tuple[bytes, tuple[Placed, ...]]:
        """The pickle with a persistent id in place of every long text, and those texts; frames are left out then."""
        if not self.long:
            return bytes(self.data[start:end]), ()
        cuts = [(at, at + 9, b"") for at in self.frames]
        cuts += [(at, stop, _FETCH.pack(b"J", i) + b"Q") for i, (at, _, stop) in enumerate(self.long)]
        pieces = []
        for at, stop, instead in sorted(cuts):
            pieces += [bytes(self.data[start:at]), instead]
            start = stop
        placed = tuple(self._placed(*place, base) for place in self.long)
        return b"".join([*pieces, bytes(self.data[start:end])]), placed

    def _placed(self, at: int, start: int, stop: int, base: int) -> Placed:
        text = self.data[at] in _TEXTS
        head = bytes(self.data[start : min(stop, start + HEAD)]).decode("utf-8" if text else "latin-1", "replace")
        return Placed(base + start, base + stop, "text" if text else "raw", head)

    def _argument(self, code: int, at: int) -> tuple[int, int, int]:
        """Start and stop of an argument's content, and where the next opcode begins."""
        size = _SIZES[code]
        if size >= 0:
            return at, at + size, at + size
        if size == _LINE:
            stop = self._line(at)
            return at, stop, stop + 1
        if size == _UNKNOWN:
            raise ValueError(f"byte {at - 1} is no opcode: {code:#04x}")
        counter = _COUNTED[size]
        length = counter.unpack_from(self.data, at)[0]
        start = at + counter.size
        if length < 0 or start + length > self.stop:
            raise ValueError(f"an argument at byte {at} claims {length} bytes")
        return start, start + length, start + length

    def _line(self, at: int) -> int:
        """Where the line that begins at ``at`` ends."""
        found = self.data.find(b"\n", at, self.stop)
        if found < 0:
            raise ValueError(f"a line at byte {at} has no end")
        return found

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


def refuse_unsafe(found: Scan, pickled_code: PickledCode, *, whole: bool = True) -> None:
    """Raise UnsafeCheckpointError naming every unsafe global, if there is one.

    Under ``refuse`` every name counts that is not listed. Of what is not a ``whole`` pickle that is going to be read,
    the names that are judged by what they are applied to count, too.
    """
    kinds = (Kind.UNSAFE, Kind.BINDING) if not whole else (Kind.UNSAFE,)
    unsafe = found.of(*kinds)
    if unsafe:
        raise unsafe_error(unsafe)
    unlisted = found.of(Kind.CODE, Kind.BINDING) if pickled_code == "refuse" else ()
    if unlisted:
        raise unlisted_error(unlisted)
