"""Images, patient ids and demographics -> Cohort."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from reid_audit.records import CohortSummary


@dataclass(frozen=True, slots=True, eq=False)
class Cohort:
    """Films of one side, in one order, with who they belong to."""

    images: Tensor
    """[N, C, side, side] float32 in [0, 1], after the policy's resize and crop, before mean and std."""
    patients: NDArray[np.str_]
    """[N] patient id of each film (the file stem where no manifest gives one)."""
    ages: NDArray[np.float64]
    """[N] years, NaN where unknown."""
    sexes: NDArray[np.str_]
    """[N] "M", "F" or ""."""
    strata: NDArray[np.str_]
    """[N] one label per film made of the manifest's stratum columns, "" where there are none."""
    summary: CohortSummary
