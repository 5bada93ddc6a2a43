"""Pickles where no reader of the format would look: behind the first one's end, inside byte strings, in other entries
of a zip, compressed, or in what is left of a damaged file.

A file with an attack in it is refused as such (exit 5), also where it could not have been read anyway.
"""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from collections.abc import Iterable, Iterator

from reid_audit.checkpoint.danger import GLOBAL, PICKLE, STACKED
from reid_audit.checkpoint.globals import Kind, classify
from reid_audit.checkpoint.layout import Buffer
from reid_audit.checkpoint.limits import MIB
from reid_audit.checkpoint.scan import COMPUTED, Scan, glanced
from reid_audit.checkpoint.unsafe import unsafe_error

LOCAL = struct.Struct("<4s5H3L2H")
LOCAL_MAGIC = b"PK\x03\x04"
LOOKED_AT = 32 * MIB
"""Bytes of a file, or of what it unpacks to, that are looked at."""
ENTRIES, PICKLES, DEPTH = 10_000, 100, 4
"""Of a zip; in a row; inside each other."""
SCRIPTED = ("__torch__.", "torch.jit._pickle.")
"""What pickles of TorchScript name: read by its own interpreter, which runs no Python."""
STORED, DEFLATED, BZIP2, LZMA = 0, 8, 12, 14


def refuse_attacks(found: dict[str, None]) -> None:
    """Raise UnsafeCheckpointError where ``found`` names something."""
    if found:
        raise unsafe_error(tuple(found))


def nested(found: Scan) -> dict[str, None]:
    """Names of attacks in byte strings of a pickle that are pickles themselves."""
    return {name: None for text in found.nested for name in attacks(text)}


def attacks(data: bytes, depth: int = DEPTH) -> dict[str, None]:
    """Names of attacks in bytes that may be a pickle, several in a row, or a damaged one."""
    found: dict[str, None] = {}
    at = 0
    for _ in range(PICKLES if depth else 0):
        if not PICKLE.match(data, at):
            break
        one = glanced(data, at)
        found.update(dict.fromkeys(name for name in one.names if _attack(name, whole=one.length > 0)))
        for text in one.nested:
            found.update(attacks(text, depth - 1))
        if not one.length:
            break
        at += one.length
    for pattern in (GLOBAL, STACKED):
        for match in pattern.finditer(data):
            name = b".".join(match.groups()).decode("ascii")
            if _attack(name, whole=True):
                found[name] = None
    return found


def begins_with_attack(head: bytes) -> bool:
    """Whether bytes that are marked as nothing are a pickle from their first byte on, with an attack in it."""
    return GLOBAL.search(head) is not None and any(_attack(n, whole=False) for n in glanced(head, 0).names)


def _attack(name: str, *, whole: bool) -> bool:
    """Whether a name is one; what damaged bytes seem to put together at run time is none."""
    if name.startswith(SCRIPTED):
        return False
    if name == COMPUTED or not all(part.isidentifier() for part in name.split(".")):
        return whole
    return classify(name) is Kind.UNSAFE


def in_zip(data: Buffer) -> dict[str, None]:
    """Names of attacks in the entries of a zip, whatever its index says of them: stored, compressed, twice, cut."""
    found: dict[str, None] = {}
    left = LOOKED_AT
    for content in _entries(data):
        text = content[: max(left, 0)]
        left -= len(text)
        if PICKLE.match(text) or GLOBAL.search(text, 0, 4096):
            found.update(attacks(text))
        if left <= 0:
            break
    return found


def beside(entries: Iterable[tuple[int, int]], data: Buffer) -> dict[str, None]:
    """Names of attacks in entries of a sound zip that no reader of the format looks at."""
    found: dict[str, None] = {}
    for start, stop in entries:
        if _could_be_pickled(data, start, STORED):
            found.update(attacks(bytes(data[start : min(stop, start + LOOKED_AT)])))
    return found


def _entries(data: Buffer) -> Iterator[bytes]:
    """What lies behind each header, up to the next one: as it is, and unpacked. Sizes and flags may lie."""
    at = data.find(LOCAL_MAGIC, 0)
    for _ in range(ENTRIES):
        if at < 0 or at + LOCAL.size > len(data):
            return
        _, _, _flags, method, *_, name_bytes, extra_bytes = LOCAL.unpack_from(data, at)
        start = at + LOCAL.size + name_bytes + extra_bytes
        at = data.find(LOCAL_MAGIC, at + 4)
        stop = min(at if at > 0 else len(data), start + LOOKED_AT)
        if _could_be_pickled(data, start, method):
            raw = bytes(data[start:stop])
            yield raw
            if method != STORED:
                yield _unpacked(raw, method)


def _could_be_pickled(data: Buffer, start: int, method: int) -> bool:
    """Storages of plain numbers are passed over without copying them."""
    head = bytes(data[start : start + 4096])
    return method != STORED or PICKLE.match(head) is not None or GLOBAL.search(head) is not None


def _unpacked(raw: bytes, method: int) -> bytes:
    """The beginning of an entry; empty where it cannot be unpacked."""
    try:
        if method == DEFLATED:
            return zlib.decompressobj(-15).decompress(raw, MIB)
        if method == BZIP2:
            return bz2.BZ2Decompressor().decompress(raw, MIB)
        if method == LZMA and len(raw) > 9:
            return _lzma(raw)
    except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, struct.error, MemoryError):
        return b""
    return b""


def _lzma(raw: bytes) -> bytes:
    """Version, size of the properties, properties (how literals are coded, dictionary), stream."""
    _, properties, coding, dictionary = struct.unpack_from("<HHBI", raw)
    choices = {"lc": coding % 9, "lp": coding // 9 % 5, "pb": coding // 45, "dict_size": min(dictionary, 16 * MIB)}
    unpacker = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA1, **choices}])
    return unpacker.decompress(raw[4 + properties :], MIB)
