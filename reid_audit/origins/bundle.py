"""A MONAI bundle, as a folder or a zip: its weights, and what its own metadata declare. Its configuration never runs.

A bundle's ``configs`` may hold expressions (strings that begin with ``$``) that MONAI evaluates. They are text here.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reid_audit.checkpoint.folder import SUFFIXES
from reid_audit.checkpoint.limits import DEFAULT, Limits
from reid_audit.errors import CheckpointError
from reid_audit.origins.interface import Declared, Fetched

METADATA = "configs/metadata.json"
CONFIGS = ("configs/inference.json", "configs/train.json", "configs/evaluate.json")
"""Where a bundle in JSON says which class its network is; the first that says so counts."""
WEIGHTS = ("models/model.safetensors", "models/model.pt", "models/model.pth")
LARGEST = 4_000_000
"""Bytes of a configuration file that is read."""
Read = Callable[[str], bytes | None]
"""A file of a bundle by its name in it, up to ``LARGEST`` bytes; None where it has none, or a larger one."""


def unpacked(path: Path, folder: Path, limits: Limits = DEFAULT) -> Fetched:
    """The weights of the bundle at ``path`` with what it declares; anything else comes back as it is."""
    if path.is_dir() and (path / METADATA).is_file():
        names = [name for name in WEIGHTS if (path / name).is_file()] or sorted(
            f"models/{file.name}" for file in (path / "models").glob("*") if file.suffix in SUFFIXES
        )
        return Fetched(path / the_weights(names, str(path)), declared=declared(reading(path)))
    if path.suffix == ".zip" and zipfile.is_zipfile(path):
        return _from_zip(path, folder, limits)
    return Fetched(path)


def the_weights(names: list[str], bundle: str) -> str:
    """The one file of weights. Raises CheckpointError where there is none, or several that are equally likely."""
    if names and (len(names) == 1 or names[0] in WEIGHTS):
        return names[0]
    raise CheckpointError(
        f"{bundle} is a MONAI bundle {'with several networks' if names else 'without weights'}",
        closest=", ".join(names[:3]) or f"no {WEIGHTS[1]}; large files are often fetched apart from a bundle",
        remedy="give one file of weights" if names else "download its weights as large_files.yml says",
    )


def reading(folder: Path) -> Read:
    """Reads the files of an unpacked bundle."""

    def read(name: str) -> bytes | None:
        path = folder / name
        return path.read_bytes() if path.is_file() and path.stat().st_size <= LARGEST else None

    return read


def declared(read: Read) -> Declared:
    """What a bundle says of its network; fields that are missing, expressions or nonsense are left out."""
    image = _image(_table(read(METADATA)))
    return Declared(
        network=next(filter(None, (_network(_table(read(name))) for name in CONFIGS)), ""),
        channels=_count(image.get("num_channels")),
        side=_side(image.get("spatial_shape")),
        values=_range(image.get("value_range")),
        modality=_word(image.get("modality")),
    )


def _from_zip(path: Path, folder: Path, limits: Limits) -> Fetched:
    """Only the weights and the configuration are unpacked, under names of our own."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {entry.filename: entry for entry in archive.infolist()}
            roots = [name.removesuffix(METADATA) for name in entries if name.endswith(METADATA)]
            if len(roots) != 1 or any(name.endswith("/data.pkl") for name in entries):
                return Fetched(path)
            inside = [name for name in WEIGHTS if roots[0] + name in entries]
            entry = entries[roots[0] + the_weights(inside, str(path))]
            if entry.file_size > min(limits.file_bytes, limits.unpacked(path.stat().st_size)):
                raise CheckpointError(
                    f"the weights in {path} unpack to {entry.file_size} bytes",
                    closest="more than the file can honestly hold",
                    remedy="unpack the bundle and give its folder",
                )
            file = folder / Path(entry.filename).name
            with archive.open(entry) as packed, file.open("wb") as out:
                shutil.copyfileobj(packed, out)

            def read(name: str) -> bytes | None:
                found = entries.get(roots[0] + name)
                return None if found is None or found.file_size > LARGEST else archive.read(found)

            return Fetched(file, declared=declared(read))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, ValueError, EOFError) as error:
        raise CheckpointError(
            f"the bundle {path} cannot be unpacked",
            closest=f"{type(error).__name__}: {error}"[:200],
            remedy="unpack it and give its folder",
        ) from error


def _table(raw: bytes | None) -> dict[str, Any]:
    try:
        found = json.loads(raw or b"{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _image(metadata: dict[str, Any]) -> dict[str, Any]:
    """``network_data_format.inputs.image``, or the only input under another name."""
    found: Any = metadata
    for key in ("network_data_format", "inputs"):
        found = found.get(key) if isinstance(found, dict) else None
    if not isinstance(found, dict):
        return {}
    image = found.get("image", next(iter(found.values()), None))
    return image if isinstance(image, dict) else {}


def _network(config: dict[str, Any]) -> str:
    """The class of ``network_def``: a plain name, at the end of a dotted one."""
    found = config.get("network_def", config.get("network"))
    target = found.get("_target_") if isinstance(found, dict) else None
    name = target.rpartition(".")[2] if isinstance(target, str) else ""
    return name[:60] if name.isidentifier() else ""


def _count(value: Any) -> int | None:
    return value if type(value) is int and 1 <= value <= 64 else None


def _side(shape: Any) -> int | None:
    """Of a square input [side, side]; shapes with expressions, three axes or unequal sides have none."""
    if not isinstance(shape, list) or len(shape) != 2 or shape[0] != shape[1] or type(shape[0]) is not int:
        return None
    return shape[0] if 8 <= shape[0] <= 1024 else None


def _range(values: Any) -> tuple[float, float] | None:
    if not isinstance(values, list) or len(values) != 2 or any(type(v) not in (int, float) for v in values):
        return None
    low, high = float(values[0]), float(values[1])
    return (low, high) if low < high else None


def _word(value: Any) -> str:
    return value if isinstance(value, str) and value.isascii() and value.replace(" ", "").isalnum() else ""
