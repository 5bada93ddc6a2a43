"""``drop-head``: the network without its classifier, for use as an encoder.

Without answers there is no loss to ask (Yeom et al., CSF 2018). The features before the head were shaped by the same
films: Carlini et al., NeurIPS 2022 (The Privacy Onion Effect), show that removing what leaks most exposes the next.
"""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from reid_audit.errors import MitigationError
from reid_audit.mitigate.interface import Copy, Given, Mitigation
from reid_audit.mitigate.statistics import owned
from reid_audit.network.heads import classifier


def drop_head(found: Copy, given: Given) -> Copy:
    """The copy without the layer that answers. Raises MitigationError where it has none."""
    target = owned(found)
    head = classifier(target)
    if head is None:
        raise MitigationError(
            "drop-head has nothing to remove: the network ends without a classifier",
            closest=f"{target.match.name}: {target.match.head}",
            remedy="leave --apply drop-head out",
        )
    path = next(name for name, layer in target.module.named_modules() if layer is head)
    parent, _, leaf = path.rpartition(".")
    setattr(target.module.get_submodule(parent), leaf, nn.Identity())
    match = target.match.model_copy(update={"head": "features", "classes": 0})
    said = f"the classifier {path} ({head.weight.shape[1]} to {len(head.weight)}) was removed"
    return replace(found, target=replace(target, match=match), done=(*found.done, said))


MITIGATION = Mitigation(
    idea="Remove the classifier, so that the copy gives features and no answers.",
    source="Yeom et al., CSF 2018; Carlini et al., NeurIPS 2022 (The Privacy Onion Effect)",
    remains=(
        "The features were shaped by the same films; a new classifier on them can bring the answers back.",
        "BatchNorm statistics stay in the file, and so does everything an attack reads from them.",
    ),
    effect="hides",
    apply=drop_head,
)
