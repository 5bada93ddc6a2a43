"""What a prior of private films was made from, in a file beside it that stays in the house.

The prior itself may be handed on; this file may not: it holds the key of the patients' HMACs, and the films' perceptual
hashes, which outline their images. With it ``check`` can tell whether the prior has seen a cohort.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch

from reid_audit.artefacts.provenance import Origin, keyed_id
from reid_audit.errors import PriorError
from reid_audit.store import write_secret

SUFFIX = ".patients.json"
VALUES = 4
"""64-bit words of a film's hash."""


def beside(prior: Path) -> Path:
    """Where the file of a prior is looked for."""
    return prior.with_name(prior.name + SUFFIX)


def write_patient_file(path: Path, origin: Origin, *, key: bytes, prior: str) -> None:
    """Keep ``origin`` (plain ids) with keyed ids, mode 0600, for the prior file of digest ``prior``. Never ship it."""
    content = {
        "prior": prior,
        "key": key.hex(),
        "patients": sorted(keyed_id(patient, key) for patient in origin.patients),
        "films": [] if origin.hashes is None else origin.hashes.tolist(),
    }
    write_secret(path, json.dumps(content))


def read_patient_file(path: Path, *, prior: str) -> Origin:
    """The origin that ``write_patient_file`` kept for the prior file of digest ``prior``.

    Raises PriorError where it is unreadable or was written for another prior.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        key, owner = bytes.fromhex(content["key"]), content["prior"]
        patients = frozenset(str(patient) for patient in content["patients"])
        films = torch.tensor(content["films"], dtype=torch.int64).reshape(-1, VALUES)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise PriorError(
            "the prior's patient file cannot be read",
            closest=str(error) or type(error).__name__,
            remedy=f"give the {SUFFIX} file that 'prior fit' or 'prior train' wrote, or make the prior again",
        ) from error
    if owner != prior:
        raise PriorError(
            f"{path.name} belongs to another prior",
            closest=f"it was written for {str(owner)[:12]}, this prior is {prior[:12]}",
            remedy="give the file that was written together with this prior, or make both again",
        )
    return Origin(films if len(films) else None, patients, key=key)
