"""Zip archives that are something else than one torch.save file, by the names inside."""

from __future__ import annotations

from collections.abc import Sequence

from reid_audit.checkpoint.folder import SUFFIXES
from reid_audit.checkpoint.formats import OTHER
from reid_audit.errors import CheckpointError

EXPORT = "save the state_dict of the original module"
SCRIPT = "save the state_dict: torch.save(torch.jit.load(file).state_dict(), 'weights.pt')"
ARRAYS = "torch.save(dict(numpy.load(file)), 'weights.pt') is read"


def refuse_other_kinds(names: Sequence[str]) -> None:
    """Raise CheckpointError for TorchScript, exported programs, bundles, archives with checkpoints in them, others."""
    found = _kind(names, set(names))
    if found is None:
        return
    kind, remedy = found
    inside = [name for name in names if name.endswith(SUFFIXES)]
    shown = f"it holds {', '.join(inside[:3])}" if inside and "torch" not in kind else "recognised by the names inside"
    raise CheckpointError(f"this is {kind}", closest=shown, remedy=remedy)


def _kind(names: Sequence[str], known: set[str]) -> tuple[str, str] | None:
    """What the archive is and what to do; None where it may be a torch.save file."""
    last = {name.rpartition("/")[2] for name in names}
    if any(name.endswith(("/constants.pkl", "/bytecode.pkl")) or "/code/" in name for name in names):
        return "a TorchScript archive: code, not only weights", SCRIPT
    if any("/data/aotinductor/" in f"/{name}" for name in names):
        return "a package compiled by torch (AOTInductor)", EXPORT
    if {"serialized_exported_program.json", "archive_format"} & last:
        return "a torch.export program", EXPORT
    if "model.weights.h5" in known or "metadata.json" in known:
        return "a Keras archive", OTHER
    if any(name.endswith(".npy") for name in names):
        return "a numpy archive (npz)", ARRAYS
    if "AndroidManifest.xml" in known:
        return "an Android package", OTHER
    if "[Content_Types].xml" in known:
        return "an Office document", OTHER
    return None if any(name.endswith("/data.pkl") for name in names) else _packed(names, last)


def _packed(names: Sequence[str], last: set[str]) -> tuple[str, str] | None:
    inside = [name for name in names if name.endswith(SUFFIXES)]
    if any(name.endswith("configs/metadata.json") for name in names):
        return "a zipped MONAI bundle", f"unpack it and give {_first(inside, 'models/model.pt')}"
    if "MAR-INF" in {name.partition("/")[0] for name in names}:
        return "an archive of TorchServe", f"unpack it and give {_first(inside, 'the weights')}"
    if {"dataset.json", "plans.json"} & last and inside:
        return "a zipped nnU-Net model", f"unpack it and give each fold's checkpoint, first {inside[0]}"
    if inside:
        count = f"{len(inside)} checkpoints" if len(inside) > 1 else "a checkpoint"
        return f"a zip archive with {count} inside", f"unpack it and give {inside[0]}"
    if any(name.endswith((".dcm", ".png", ".jpg", ".nii", ".nii.gz")) for name in names):
        return "a zip archive of images", "give the checkpoint; images belong to --reference or --holdout"
    return None


def _first(inside: Sequence[str], otherwise: str) -> str:
    return inside[0] if inside else otherwise
