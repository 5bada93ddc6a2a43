"""Methods by the name the command line knows them under."""

from __future__ import annotations

from reid_audit.attack.gradient import gradient
from reid_audit.attack.interface import Attack
from reid_audit.attack.latent import latent
from reid_audit.attack.moments import moments
from reid_audit.attack.pixel import pixel
from reid_audit.attack.two_stage import two_stage
from reid_audit.attack.uninformed import uninformed

METHODS: dict[str, Attack] = {
    "moments": moments,
    "two-stage": two_stage,
    "latent": latent,
    "pixel": pixel,
    "gradient": gradient,
    "prior": uninformed,
}
