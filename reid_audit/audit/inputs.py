"""The digest of everything a kept attack run depends on.

A run is used again only under the same digest: the same checkpoint, prior, preprocessing, budget, seed and device, and
the same source code of this package, line by line.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch

import reid_audit
from reid_audit.audit.request import AuditRequest
from reid_audit.audit.setup import Setup
from reid_audit.reference.shelf import digest_of

PACKAGE = Path(reid_audit.__file__).parent


def inputs_digest(request: AuditRequest, setup: Setup) -> str:
    """SHA-256 of everything the attack runs depend on."""
    parts = {
        "checkpoint": setup.checkpoint.summary.sha256,
        "network": setup.checkpoint.name,
        "prior": setup.task.prior.card.sha256,
        "space": setup.task.space.card.sha256,
        "preprocess": setup.task.preprocess.model_dump(mode="json"),
        "budget": setup.task.budget.model_dump(mode="json"),
        "samples": setup.task.samples,
        "canaries": request.policy.controls.canaries,
        "architecture": [setup.task.target.match.name, setup.task.target.match.head],
        "factory": request.factory,
        "method": request.method,
        "base": None if setup.task.base is None else digest_of(setup.task.base.module),
        "seed": request.seed,
        "code": code_digest(PACKAGE),
        "torch": torch.__version__,
        "device": [str(setup.device.type), request.deterministic],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def code_digest(package: Path) -> str:
    """SHA-256 of a package's sources: a release number does not tell two commits apart."""
    whole = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        whole.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return whole.hexdigest()
