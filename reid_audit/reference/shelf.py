"""Reference models that were trained before, by the digest of all that their training depends on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from reid_audit.arch.target import Target
from reid_audit.records import PreprocessSpec, References
from reid_audit.reference.training import Goal
from reid_audit.store import write_private

VERSION = 3
"""Raised where training is changed, so that what was kept before is trained again."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """Finished reference models below ``folder``; None: nothing is kept.

    They know patients' films by heart: files of mode 0600 in a folder of mode 0700, for the house alone.
    """

    folder: Path | None = None

    def load(self, key: str, module: nn.Module) -> bool:
        """Give ``module`` the kept weights, if there are any; a damaged file is worth no more than none."""
        path = self._path(key)
        if path is None or not path.is_file():
            return False
        try:
            module.load_state_dict(load(path.read_bytes()))
        except (SafetensorError, RuntimeError, OSError, ValueError):
            return False
        return True

    def save(self, key: str, module: nn.Module) -> None:
        """Keep a trained model; the file appears whole or not at all."""
        path = self._path(key)
        if path is not None:
            write_private(path, save({name: value.contiguous() for name, value in module.state_dict().items()}))

    def _path(self, key: str) -> Path | None:
        return None if self.folder is None else self.folder / f"reference-{key[:32]}.safetensors"


def digest_of(module: nn.Module) -> str:
    """SHA-256 of a network's parameters and buffers."""
    whole = hashlib.sha256()
    for name, value in module.state_dict().items():
        whole.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return whole.hexdigest()


def key_of(
    target: Target,
    base: nn.Module | None,
    spec: PreprocessSpec,
    recipe: References,
    *,
    films: str,
    goal: Goal | None,
    part: tuple[int, int],
) -> str:
    """SHA-256 of what one reference model depends on: films and answers (``films``), architecture, the ``base`` it
    starts from, recipe, and ``part`` (seed, its number).

    The audited weights are not in it, but for ``goal``, which moves in steps: releases of one network that were trained
    alike share their references.
    """
    shapes = {name: list(value.shape) for name, value in target.module.state_dict().items()}
    known = {
        "version": VERSION,
        "films": films,
        "architecture": [target.match.library, target.match.name, target.match.head, shapes, repr(target.module)],
        "preprocess": spec.model_dump(mode="json"),
        "recipe": recipe.model_dump(mode="json", exclude={"when", "count", "given", "stands_in"}),
        "goal": None if goal is None else [goal.odds, goal.errors],
        "base": None if base is None else digest_of(base),
        "part": part,
        "torch": torch.__version__.split("+")[0],
    }
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()
