"""Zip archives that are something else, lie about their contents, or unpack to more than they are."""

from __future__ import annotations

import io
import stat
import struct
import warnings
import zipfile
from collections.abc import Callable

from corpus_base import BROKEN, STATE, UNSAFE, Case, case, saved, zipped
from corpus_pickles import by_global

EMPTY = b"\x80\x02}."
FOUR = bytes(4)
LOCAL = b"PK\x03\x04\x14\0\0\0\0\0"
OTHER: dict[str, tuple[dict[str, bytes], str]] = {
    "torchscript constants": ({"archive/constants.pkl": b"\x80\x02)."}, "TorchScript"),
    "torchscript code": ({"archive/code/__torch__.py": b"pass"}, "TorchScript"),
    "torch.export": ({"archive/archive_format": b"pt2"}, "torch.export"),
    "old torch.export": ({"serialized_exported_program.json": b"{}"}, "torch.export"),
    "keras": ({"model.weights.h5": b""}, "Keras"),
    "keras config": ({"metadata.json": b"{}"}, "Keras"),
    "npz": ({"arr_0.npy": b"\x93NUMPY"}, "numpy"),
    "android": ({"AndroidManifest.xml": b""}, "Android"),
    "office": ({"[Content_Types].xml": b""}, "Office"),
}
SLIPS = {
    "upwards": "../../etc/cron.d/x",
    "upwards inside": "archive/../../x",
    "upwards with backslashes": "archive\\..\\..\\x",
    "absolute": "/etc/passwd",
    "absolute with a backslash": "\\windows\\x",
}


def written(*fills: Callable[[zipfile.ZipFile], object], method: int = zipfile.ZIP_STORED) -> bytes:
    """A zip with an empty checkpoint and what ``fills`` add."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", method) as archive:
        warnings.simplefilter("ignore")
        archive.writestr("archive/data.pkl", EMPTY)
        for fill in fills:
            fill(archive)
    return buffer.getvalue()


def bare(names: dict[str, bytes]) -> bytes:
    """A zip with these entries only."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in names.items():
            archive.writestr(name, content)
    return buffer.getvalue()


CODE = by_global("os.system")


def named(name: str, content: bytes = CODE) -> Callable[[zipfile.ZipFile], object]:
    """One more entry."""
    return lambda archive: archive.writestr(name, content)


def link(name: str) -> Callable[[zipfile.ZipFile], object]:
    """An entry that unpacks to a symbolic link."""
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return lambda archive: archive.writestr(info, "/etc/passwd")


def patched(data: bytes, find: bytes, put: bytes, *, last: bool = False) -> bytes:
    """``data`` with one place overwritten."""
    at = data.rindex(find) if last else data.index(find)
    return data[:at] + put + data[at + len(find) :]


def _forged() -> dict[str, tuple[bytes, str]]:
    honest = zipped(EMPTY, {"archive/data/0": bytes(64)})
    central = honest.index(b"PK\x01\x02")
    index_of_storage = honest.rindex(b"PK\x01\x02")
    encrypted = bytearray(honest)
    encrypted[central + 8] |= 1
    overlapping = bytearray(honest)
    overlapping[index_of_storage + 42 : index_of_storage + 46] = struct.pack("<I", 0)
    huge = bytearray(honest)
    huge[index_of_storage + 20 : index_of_storage + 28] = struct.pack("<2I", 2**31, 2**31)
    outside = bytearray(honest)
    outside[index_of_storage + 42 : index_of_storage + 46] = struct.pack("<I", len(honest) - 10)
    return {
        "names differ": (patched(honest, b"archive/data/0", b"archive/data/1", last=True), "differ"),
        "flags differ": (patched(honest, LOCAL, LOCAL[:6] + b"\x01" + LOCAL[7:]), "differ"),
        "no entry where the index points": (patched(honest, LOCAL, b"PK\x07\x08" + LOCAL[4:], last=True), "differ"),
        "zero byte in a name": (patched(honest, b"archive/data/0", b"archive/data\x000", last=True), "zero byte"),
        "encrypted": (bytes(encrypted), "encrypted"),
        "overlapping entries": (bytes(overlapping), "overlap"),
        "entry larger than the file": (bytes(huge), "overlap"),
        "entry behind the end": (bytes(outside), "overlap"),
        "wrong checksum": (patched(honest, EMPTY, b"\x80\x02]."), "cannot be read"),
        "another byte order": (zipped(EMPTY, {"archive/byteorder": b"big"}), "byte order"),
        "endless byte order": (zipped(EMPTY, {"archive/byteorder": b"x" * 100_000}), "byte order"),
        "no index": (honest[:central], "incomplete"),
        "index only": (b"PK\x03\x04" + honest[central:], ""),
        "index cut": (honest[: central + 30], "incomplete"),
    }


def _bomb(entries: int) -> bytes:
    zeros = bytes(64 * 2**20 // entries)
    return written(*(named(f"archive/data/{i}", zeros) for i in range(entries)), method=zipfile.ZIP_DEFLATED)


def _crowd(entries: int) -> bytes:
    """A zip of empty entries, put together by hand because zipfile takes seconds."""
    inside, index = bytearray(), bytearray()
    for i in range(entries):
        name = b"archive/data/%d" % i
        at = len(inside)
        inside += struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, 0, 0, 0, 33, 0, 0, 0, len(name), 0) + name
        index += (
            struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 0, 0, 33, 0, 0, 0, len(name), 0, 0, 0, 0, 0, at) + name
        )
    wide = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, entries, entries, len(index), len(inside))
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, len(inside) + len(index), 1)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, len(index), len(inside), 0)
    return bytes(inside + index + wide + locator + end)


OTHERS: dict[str, tuple[str, bytes, str]] = {
    "data.pkl": ("duplicated name", written(named("archive/data.pkl", EMPTY)), "twice"),
    "storage": ("duplicated name", written(named("archive/data/0", FOUR), named("archive/data/0", FOUR)), "twice"),
    "link as a storage": ("link", written(link("archive/data/0")), "link"),
    "link as another entry": ("link", written(link("archive/version")), "link"),
    "deflated": ("compressed", written(named("archive/data/0", FOUR), method=zipfile.ZIP_DEFLATED), "compressed"),
    "bzip2": ("compressed", written(named("archive/data/0", FOUR), method=zipfile.ZIP_BZIP2), "compressed"),
    "lzma": ("compressed", written(named("archive/data/0", FOUR), method=zipfile.ZIP_LZMA), "compressed"),
    "no pickle": ("not a checkpoint", bare({"readme.txt": b"hello"}), "no torch checkpoint"),
    "pickle too deep": ("not a checkpoint", bare({"a/b/data.pkl": EMPTY}), "no torch checkpoint"),
    "pickle at the top": ("not a checkpoint", bare({"data.pkl": EMPTY}), "no torch checkpoint"),
    "two checkpoints": ("not a checkpoint", zipped(EMPTY, {"other/data.pkl": EMPTY}), "several"),
    "a checkpoint inside a zip": ("not a checkpoint", bare({"model.pt": saved(STATE)}), "a checkpoint inside"),
}
ATTACKS: dict[str, bytes] = {
    "a second data.pkl": written(named("archive/data.pkl")),
    "a second storage": written(named("archive/data/0"), named("archive/data/0")),
    "deflated": written(named("archive/data/0"), method=zipfile.ZIP_DEFLATED),
    "bzip2": written(named("archive/data/0"), method=zipfile.ZIP_BZIP2),
    "lzma": written(named("archive/data/0"), method=zipfile.ZIP_LZMA),
    "marked as encrypted": patched(bare({"archive/data.pkl": CODE}), LOCAL, LOCAL[:6] + b"\x01" + LOCAL[7:]),
    "marked as compressed": patched(bare({"archive/data.pkl": CODE}), LOCAL, LOCAL[:8] + b"\x08\0"),
    "pickle too deep": bare({"a/b/data.pkl": CODE}),
    "pickle at the top": bare({"data.pkl": CODE}),
    "points outside": written(named("../../etc/x")),
    "another suffix": written(named("archive/readme.txt")),
    "wrong checksum": patched(bare({"archive/data.pkl": CODE}), b"ran-code", b"ran-it!!"),
    "in a TorchScript archive": written(named("archive/constants.pkl")),
    "index cut": bare({"archive/data.pkl": CODE})[:-30],
}
"""Zips that are refused anyway, with a pickle inside that runs something."""
CASES = [
    *(case("attack in a broken zip", n, data, UNSAFE, "system") for n, data in ATTACKS.items()),
    *(case("zip of another kind", n, zipped(EMPTY, extra), BROKEN, phrase) for n, (extra, phrase) in OTHER.items()),
    *(case("zip slip", n, zipped(EMPTY, {name: b"x"}), BROKEN, "outside") for n, name in SLIPS.items()),
    *(case("forged zip", n, data, BROKEN, phrase) for n, (data, phrase) in _forged().items()),
    *(case(kind, n, data, BROKEN, phrase) for n, (kind, data, phrase) in OTHERS.items()),
    Case("zip bomb", "one entry", lambda: _bomb(1), BROKEN, "unpacks"),
    Case("zip bomb", "100,001 entries", lambda: _crowd(100_001), BROKEN, "entries"),
    Case("zip bomb", "16 entries", lambda: _bomb(16), BROKEN, "unpacks"),
]
