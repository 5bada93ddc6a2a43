"""Does a prior give away the films it was made from? What `audit` asks of a checkpoint, asked of a prior's samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reid_audit.artefacts.provenance import NCC
from reid_audit.prior.interface import Prior
from reid_audit.prior.memorisation import Memorisation, draw_samples, measure_memorisation
from reid_audit.records import Measured
from reid_audit.score.comparison import Comparison
from reid_audit.score.exchangeability import exchangeability
from reid_audit.score.linkage import LinkageOutcome, link
from reid_audit.score.patients import Owners
from reid_audit.score.similarity import fit_match_space, match_scores

LEVEL = 0.01
"""Family-wise error of the two tests together."""
ALIKE = 0.01
"""p of the two-sample test of the films up to which they are of different kinds and the tests mean nothing."""
SAMPLES = 512


@dataclass(frozen=True, slots=True, eq=False)
class PriorLeak:
    """Nearest neighbours and linkage of a prior's samples, training films beside films it has not seen."""

    nearest: Memorisation
    linkage: LinkageOutcome
    kinds_p: float | None
    """p of the two-sample test of training against other films; None where there are too few patients."""

    @property
    def comparable(self) -> bool:
        """Whether both cohorts are films of one kind, so that a difference means memorisation."""
        return self.kinds_p is not None and self.kinds_p > ALIKE

    @property
    def copies(self) -> bool:
        """Whether samples are copies of training films, and none is as close to a film the prior has not seen."""
        return self.nearest.copies > 0 and self.nearest.closest_held_out < NCC

    @property
    def repeats(self) -> bool:
        """Whether samples lean towards training patients (two tests, Bonferroni), or are copies of their films."""
        return self.copies or (self.comparable and 2 * min(self.nearest.p, self.linkage.p) <= LEVEL)


def audit_prior(
    prior: Prior,
    training: Tensor,
    training_patients: Sequence[str],
    held_out: Tensor,
    held_out_patients: Sequence[str],
    *,
    seed: int,
    samples: int = SAMPLES,
) -> PriorLeak:
    """Test ``samples`` draws against films [N, C, S, S] in [0, 1] of both cohorts, at the prior's own side S.

    Linkage is T1 of the audit, with samples in the place of reconstructions, in a match space fitted on both cohorts
    alike. Raises CohortError where a patient is in both cohorts.
    """

    def seeded() -> torch.Generator:
        return torch.Generator().manual_seed(seed)

    drawn = draw_samples(prior, samples, seeded())
    nearest = measure_memorisation(
        prior, training, training_patients, held_out, held_out_patients, generator=seeded(), samples=samples
    )
    films = torch.cat([training, held_out])
    patients: NDArray[np.str_] = np.array([*training_patients, *held_out_patients], dtype=np.str_)
    is_member = np.arange(len(films)) < len(training)
    space, rng = fit_match_space(films), np.random.default_rng(seed)
    owners = Owners(patients, is_member)
    linked = link(match_scores(space, drawn, films).double().numpy(), owners, rng)
    kinds = exchangeability(Comparison.unlabelled(films, owners, space), rng)
    return PriorLeak(nearest, linked, kinds.value if isinstance(kinds, Measured) else None)
