"""``drop-states``: the file with the network's own tensors and nothing else.

Optimiser moments are running averages of training gradients, and a gradient gives images away (Zhu et al., Deep Leakage
from Gradients, NeurIPS 2019); an EMA copy is a second network to attack.
"""

from __future__ import annotations

from dataclasses import replace

from reid_audit.mitigate.interface import Copy, Given, Mitigation


def drop_states(found: Copy, given: Given) -> Copy:
    """The copy as it is: every copy holds the tensors of its network alone."""
    return replace(found, done=(*found.done, "the file holds the tensors of one network and nothing else"))


MITIGATION = Mitigation(
    idea="Leave out whatever the file holds beside the network: optimiser, EMA and gradient states, names, settings.",
    source="Zhu et al., NeurIPS 2019 (Deep Leakage from Gradients)",
    remains=("The network itself is unchanged: whatever its weights and statistics give away they still do.",),
    effect="trims",
    apply=drop_states,
)
