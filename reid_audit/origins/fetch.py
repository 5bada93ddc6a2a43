"""From what the user names to one file: by the scheme of a URI, else a bundle or a file that is here already."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from reid_audit.errors import PolicyError
from reid_audit.origins.bundle import unpacked
from reid_audit.origins.interface import Fetch, Fetched

SCHEMES: dict[str, str] = {
    "hf": "reid_audit.origins.hub",
    "mlflow": "reid_audit.origins.mlflow",
    "models": "reid_audit.origins.mlflow",
    "runs": "reid_audit.origins.mlflow",
    "wandb": "reid_audit.origins.wandb",
}
"""Scheme -> the module whose ``fetch`` is a ``Fetch``; imported when it is asked for."""
_URI = re.compile(r"([a-z][a-z0-9+.-]+):/")


def is_remote(text: str) -> bool:
    """Whether ``text`` is a URI; a file of that name is a file."""
    return _URI.match(text) is not None and not Path(text).exists()


@contextmanager
def fetched(text: str) -> Iterator[Fetched]:
    """The checkpoint that ``text`` names, for as long as it is used; what had to be unpacked is removed afterwards.

    text: a file, the folder or zip of a MONAI bundle, or a URI of ``SCHEMES``. Raises PolicyError and CheckpointError.
    """
    with tempfile.TemporaryDirectory(prefix="reid-audit-model-") as place:
        yield _ask(text)(text, Path(place)) if is_remote(text) else unpacked(Path(text), Path(place))


def _ask(text: str) -> Fetch:
    found = _URI.match(text)
    scheme = "" if found is None else found[1]
    if scheme not in SCHEMES:
        raise PolicyError(
            f"{scheme}: is no scheme that checkpoints are read from",
            closest=", ".join(f"{name}:" for name in SCHEMES),
            remedy="download the file and give its path, or use one of these",
        )
    fetch: Fetch = import_module(SCHEMES[scheme]).fetch
    return fetch
