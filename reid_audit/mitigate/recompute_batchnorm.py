"""``recompute-bn``: the statistics of public films in the place of those of the training films.

Li et al., Revisiting Batch Normalization For Practical Domain Adaptation (AdaBN), 2016, replace the statistics to adapt
a network to another site; Izmailov et al., UAI 2018, section 3.2, average them as here. That stored statistics are what
an inversion reads: Yin et al., DeepInversion, CVPR 2020.
"""

from __future__ import annotations

from dataclasses import replace

from reid_audit.mitigate.interface import Copy, Given, Mitigation
from reid_audit.mitigate.statistics import layers_with_statistics, owned, with_statistics_of

NAME = "recompute-bn"


def recompute_batchnorm(found: Copy, given: Given) -> Copy:
    """The copy with other statistics; its trained weights stay."""
    given.films(NAME)
    layers_with_statistics(found.target.module, NAME)
    return with_statistics_of(replace(found, target=owned(found)), given, NAME, "the weights stay as they were trained")


MITIGATION = Mitigation(
    idea="Replace the BatchNorm running statistics by those of public films; the trained weights stay.",
    source="Li et al. 2016 (AdaBN); Izmailov et al., UAI 2018, section 3.2; Yin et al., CVPR 2020 (DeepInversion)",
    remains=(
        "What the trained weights remember stays: whoever has a patient's film can still ask the network for its "
        "answer, and one that knows its films by heart is surer of them.",
        "An attack on the weights that needs no statistics, none of which is known to rebuild films today.",
    ),
    effect="replaces",
    apply=recompute_batchnorm,
    public=True,
)
