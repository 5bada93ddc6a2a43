"""State of a training run on disk: written in one step, read without unpickling code."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import torch

from reid_audit.atomic import write_atomically
from reid_audit.errors import RunStateError

STATE_FILE = "state.pt"


def write_state(out: Path, state: dict[str, object]) -> None:
    """Replace the state in ``out``; a kill at any moment leaves the old state or the new one."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_atomically(out / STATE_FILE, buffer.getvalue())


def read_state(out: Path, inputs: str) -> dict[str, Any] | None:
    """The state in ``out``, None where there is none. Raises RunStateError where it belongs to other inputs."""
    path = out / STATE_FILE
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        same = state["inputs"] == inputs
    except (OSError, RuntimeError, ValueError, KeyError, EOFError, pickle.UnpicklingError) as error:
        raise RunStateError(
            "the training state cannot be read",
            closest=str(error),
            remedy="start again without --resume",
        ) from error
    if not same:
        raise RunStateError(
            "the folder holds a training run on other images, another seed or another recipe",
            closest=f"{STATE_FILE} in {out.name}",
            remedy="resume with the inputs it began with, or give another --out",
        )
    return state
