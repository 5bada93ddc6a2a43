"""wandb://ENTITY/PROJECT/ARTIFACT:VERSION: an artifact of Weights & Biases, pinned to the version that was read."""

from __future__ import annotations

import re
from pathlib import Path

from reid_audit.errors import PolicyError
from reid_audit.origins import bundle
from reid_audit.origins.folder import weights_below
from reid_audit.origins.interface import Fetched, library, setting, unreachable

FORM = "wandb://ENTITY/PROJECT/ARTIFACT:VERSION"
_ADDRESS = re.compile(r"wandb://(?P<place>[\w.-]+/[\w.-]+/[\w.-]+)(?::(?P<version>[\w.-]+))?")


def fetch(uri: str, folder: Path) -> Fetched:
    """The weights in an artifact. Raises PolicyError for a wrong address, CheckpointError where it fails."""
    found = _ADDRESS.fullmatch(uri)
    if found is None:
        raise PolicyError(f"{uri} is no address of an artifact", closest=FORM, remedy="write it in this form")
    wandb = library("wandb", "wandb", "wandb:")
    try:
        with setting("WANDB_SILENT", "true"):
            artifact = wandb.Api().artifact(f"{found['place']}:{found['version'] or 'latest'}")
            place = Path(artifact.download(root=str(folder / "artifact")))
        version = str(artifact.version)
    except Exception as error:  # the client's own and those of its HTTP library, which share no base
        raise unreachable(uri, error, "check the name, WANDB_API_KEY and WANDB_BASE_URL") from error
    taken = bundle.unpacked(place if (place / bundle.METADATA).is_file() else weights_below(place, uri), folder)
    return Fetched(taken.file, f"wandb://{found['place']}:{version}", taken.declared)
