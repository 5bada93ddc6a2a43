"""The index: keys and shapes of every known network, as flat arrays that are scored in one pass."""

from __future__ import annotations

import json
import lzma
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid_audit.errors import ArchitectureError

INDEX_PATH = Path(__file__).parent / "index.xz"
FORMAT = 1
BODY, HEAD, STEM, POSITION = 0, 1, 2, 3
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One network as its library publishes it."""

    number: int
    library: str
    name: str
    family: str
    side: int
    head: tuple[str, ...]
    """Keys whose shape follows the number of classes."""
    stem: tuple[str, ...]
    """Keys whose shape follows the number of input channels."""
    segmentation: bool
    normalisation: tuple[tuple[str, int], ...]
    common: str
    """First dotted part that all body keys share, or empty."""


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """One value per entry."""

    body: NDArray[np.int64]
    """Body keys found with a fitting shape."""
    exact: NDArray[np.int64]
    """Keys found with the very shape, head included."""
    named: NDArray[np.int64]
    """Keys found by name, whatever their shape."""


@dataclass(frozen=True, slots=True, eq=False)
class Index:
    """All entries, and their keys and shapes end to end."""

    versions: dict[str, str]
    entries: tuple[Entry, ...]
    keys: dict[str, int]
    key_names: tuple[str, ...]
    shapes: dict[Shape, int]
    shape_list: tuple[Shape, ...]
    flat_keys: NDArray[np.int64]
    flat_shapes: NDArray[np.int64]
    roles: NDArray[np.int64]
    """BODY, HEAD, STEM or POSITION of every flat key."""
    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]
    """Body keys of each entry (all roles but HEAD)."""
    commons: tuple[str, ...]
    """First parts that all body keys of some entry share."""

    def score(self, shapes: Mapping[str, Shape]) -> Scores:
        """Compare a state_dict's {key: shape} with every entry. Stem and position keys fit by name."""
        given = np.full(len(self.key_names), -1, dtype=np.int64)
        for key, shape in shapes.items():
            number = self.keys.get(key)
            if number is not None:
                given[number] = self.shapes.get(shape, -2)
        got = given[self.flat_keys]
        named = got != -1
        exact = named & (got == self.flat_shapes)
        fits = (exact & (self.roles != HEAD)) | (named & (self.roles >= STEM))
        return Scores(self._per_entry(fits), self._per_entry(exact), self._per_entry(named))

    def _per_entry(self, flags: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.add.reduceat(flags.astype(np.int64), self.starts)

    def without(self, leaves: tuple[str, ...]) -> Index:
        """The same entries without the keys that end with one of ``leaves``: for ``score`` alone."""
        return self._kept(~np.array([key.endswith(leaves) for key in self.key_names])[self.flat_keys])

    def without_norms(self) -> Index:
        """The same entries without their BatchNorm layers: for ``score`` alone."""
        paths: dict[str, int] = {}
        path_of = np.array([paths.setdefault(key.rpartition(".")[0], len(paths)) for key in self.key_names])
        means = np.array([key.endswith("running_mean") for key in self.key_names])[self.flat_keys]
        lengths = np.diff(np.append(self.starts, len(self.flat_keys)))
        layer = np.repeat(np.arange(len(self.entries)), lengths) * len(paths) + path_of[self.flat_keys]
        return self._kept(~np.isin(layer, layer[means]))

    def _kept(self, kept: NDArray[np.bool_]) -> Index:
        counts = np.maximum(self._per_entry(kept), 1)
        starts = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts)[:-1]])
        kept = kept | np.isin(np.arange(len(kept)), self.starts[self._per_entry(kept) == 0])
        roles = self.roles[kept]
        return replace(
            self,
            flat_keys=self.flat_keys[kept],
            flat_shapes=self.flat_shapes[kept],
            roles=roles,
            starts=starts,
            sizes=np.add.reduceat((roles != HEAD).astype(np.int64), starts),
        )

    def described(self, entry: Entry) -> dict[str, tuple[Shape, int]]:
        """{key: (shape, role)} of one entry, in its own order."""
        start = int(self.starts[entry.number])
        last = entry.number + 1 == len(self.entries)
        stop = len(self.flat_keys) if last else int(self.starts[entry.number + 1])
        return {
            self.key_names[k]: (self.shape_list[s], int(r))
            for k, s, r in zip(
                self.flat_keys[start:stop], self.flat_shapes[start:stop], self.roles[start:stop], strict=True
            )
        }


def pack(entries: list[dict[str, Any]], versions: dict[str, str]) -> bytes:
    """Descriptions (``build_index.describe``) -> compressed index.

    JSON for names, then key numbers, shape numbers and roles as little-endian int32. Keys are numbered by first
    appearance and stored as differences: neighbours mostly differ by one, which compresses to almost nothing.
    """
    keys: dict[str, int] = {}
    shapes: dict[Shape, int] = {}
    rows, key_ids, shape_ids, roles = [], list[int](), list[int](), list[int]()
    for entry in entries:
        table: dict[str, Shape] = entry["shapes"]
        key_ids += [keys.setdefault(key, len(keys)) for key in table]
        shape_ids += [shapes.setdefault(shape, len(shapes)) for shape in table.values()]
        roles += [_role(key, entry) for key in table]
        first = {key.partition(".")[0] for key in table if key not in entry["head"]}
        row = {key: value for key, value in entry.items() if key != "shapes"}
        rows.append(row | {"length": len(table), "common": first.pop() if len(first) == 1 else ""})
    document = {"format": FORMAT, "versions": versions, "keys": list(keys), "shapes": list(shapes), "entries": rows}
    text = json.dumps(document, separators=(",", ":")).encode()
    arrays = [np.diff(np.array(key_ids), prepend=0), np.array(shape_ids), np.array(roles)]
    body = b"".join(array.astype("<i4").tobytes() for array in arrays)
    return lzma.compress(struct.pack("<Q", len(text)) + text + body, preset=9 | lzma.PRESET_EXTREME)


def _role(key: str, entry: dict[str, Any]) -> int:
    if key in entry["head"]:
        return HEAD
    if key in entry["stem"]:
        return STEM
    return POSITION if is_position(key) else BODY


def is_position(key: str) -> bool:
    """True for absolute position embeddings, whose shape follows the input size."""
    return key.rpartition(".")[2] in ("pos_embed", "pos_embedding", "position_embedding", "position_embeddings")


def unpack(packed: bytes) -> Index:
    """Inverse of ``pack``. Raises ArchitectureError where the index is of another format."""
    raw = lzma.decompress(packed)
    length = struct.unpack_from("<Q", raw)[0]
    document = json.loads(raw[8 : 8 + length])
    if document["format"] != FORMAT:
        raise ArchitectureError(
            "the index of architectures has another format",
            closest=f"format {document['format']}, this release reads {FORMAT}",
            remedy="rebuild it: python -m reid_audit.arch build",
        )
    arrays = np.frombuffer(raw, dtype="<i4", offset=8 + length).reshape(3, -1).astype(np.int64)
    lengths = np.array([row["length"] for row in document["entries"]], dtype=np.int64)
    starts = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)[:-1]])
    shape_list = tuple(tuple(shape) for shape in document["shapes"])
    key_names = tuple(document["keys"])
    entries = tuple(_entry(number, row) for number, row in enumerate(document["entries"]))
    return Index(
        versions=document["versions"],
        entries=entries,
        keys={name: number for number, name in enumerate(key_names)},
        key_names=key_names,
        shapes={shape: number for number, shape in enumerate(shape_list)},
        shape_list=shape_list,
        flat_keys=np.cumsum(arrays[0]),
        flat_shapes=arrays[1],
        roles=arrays[2],
        starts=starts,
        sizes=np.add.reduceat((arrays[2] != HEAD).astype(np.int64), starts),
        commons=tuple(sorted({entry.common for entry in entries if entry.common})),
    )


def _entry(number: int, row: dict[str, Any]) -> Entry:
    return Entry(
        number=number,
        library=row["library"],
        name=row["name"],
        family=row["family"],
        side=row["side"],
        head=tuple(row["head"]),
        stem=tuple(row["stem"]),
        segmentation=row["segmentation"],
        normalisation=tuple(sorted(row["normalisation"].items())),
        common=row["common"],
    )


@lru_cache(maxsize=1)
def shipped() -> Index:
    """The index that ships with the package."""
    return unpack(INDEX_PATH.read_bytes())
