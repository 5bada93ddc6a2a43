"""Weights that the identified network does not run: which of them can belong to the network that was trained."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Container, Iterable, Sequence

from reid_audit.records import ArchMatch

TOKEN = re.compile(
    r"(^|[._])(\w*tokens?|registers?|prompts?|\w*pos_?emb\w*|pos|positions?|positional|\w*embed(ding)?s?|\w*_embs?)(_\w+)?(\.|$)",
    re.IGNORECASE,
)
"""Names of what transformers add to their input: it changes every output, and nothing shows that it is lacking."""
TRAINING = (
    (r"(\w*_)?(criterion|loss\w*|metrics?)|pos_weight|class_weights?|op_threshs", "loss, metric or threshold"),
    (r"AuxLogits|aux_classifier|aux[12]|aux_(head|logits)|auxiliary\w*", "auxiliary head of training"),
    (r"mask_token|decoder_(embed|pos_embed|blocks|norm|pred)", "decoder of masked pre-training"),
    (r"(\w*_)?(text\w*|txt\w*|bert\w*|lang(uage)?\w*|gpt\w*)", "tower for text"),
    (r"logit_(scale|bias)", "scale of the comparison with texts"),
    (r"projector|proj(ection)?_(head|mlp)|contrastive\w*|(dino|ibot)_head", "projection of self-supervised training"),
)  # fmt: skip
"""A part of a key -> what it is: parts that no image passes on its way to the network's output."""
KNOWN = tuple((re.compile(rf"(^|\.)({pattern})(\.|$)"), kind) for pattern, kind in TRAINING)
WHOLE = 20
"""Keys under one name that make it a network of its own."""
APART = "outside of the network's own dictionary, and can belong to it: "
DOUBT = "left out beside the network, and can belong to the one that was trained"


def apart(match: ArchMatch, names: Iterable[str]) -> ArchMatch:
    """``match`` with a doubt where tensors of those names lie in the file outside of every network's dictionary."""
    found = groups(doubtful(names))
    return match.model_copy(update={"doubts": (*match.doubts, APART + listed(found))}) if found else match


def listed(names: Sequence[str], most: int = 4) -> str:
    """The first of ``names``, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def kind_of(key: str) -> str | None:
    """What a known training-only part is called; None for a key that could take part in the output."""
    return next((kind for pattern, kind in KNOWN if pattern.search(key)), None)


def is_token(key: str, keys: Container[str]) -> bool:
    """Whether ``key``, one of ``keys``, is named as tokens and embeddings are that join a network's input.

    A layer with a bias is none: it may be called an embedding where it makes one of the network's output.
    """
    if kind_of(key) is not None or TOKEN.search(key) is None:
        return False
    path, _, leaf = key.rpartition(".")
    return leaf != "bias" and f"{path}.bias" not in keys


def joining_beside(outside: Collection[str], own: Iterable[str]) -> tuple[str, ...]:
    """Keys beside the network ``own`` that join its input; those of a second network are that one's tokens."""
    found = [key for key in outside if is_token(key, outside)]
    same = copies(outside, own) if found else frozenset()
    sizes = Counter(prefix for key in outside for prefix in above(key)) if found else Counter()
    return tuple(key for key in found if key not in same and not any(sizes[p] >= WHOLE for p in above(key)))


def above(key: str) -> tuple[str, ...]:
    """``a.``, ``a.b.`` for ``a.b.c``."""
    parts = key.split(".")[:-1]
    return tuple(".".join(parts[: n + 1]) + "." for n in range(len(parts)))


def groups(keys: Iterable[str]) -> tuple[str, ...]:
    """The modules of ``keys``, each once, in order: ``lstm`` for ``lstm.weight_ih_l0`` and its like."""
    return tuple(dict.fromkeys(key.rpartition(".")[0] or key for key in keys))


def copies(keys: Iterable[str], own: Iterable[str]) -> frozenset[str]:
    """Those of ``keys`` that name a second network like the one with the keys ``own``, under another prefix."""
    table = list(keys)
    names = set(own)
    found: set[str] = set()
    for prefix in {key[: -len(tail)] for key in table for tail in (first_of(names),) if tail and key.endswith(tail)}:
        same = [key for key in table if key.startswith(prefix) and key[len(prefix) :] in names]
        if 2 * len(same) > len(names):
            found.update(same)
    return frozenset(found)


def first_of(names: Iterable[str]) -> str:
    """Any one of ``names``, always the same."""
    return min(names, default="")


def has_text(keys: Iterable[str]) -> bool:
    """Whether a tower for text is among ``keys``: images were compared with texts."""
    return any(kind_of(key) == "tower for text" for key in keys)


def doubt(keys: Iterable[str]) -> tuple[str, ...]:
    """The doubt that ``keys`` raise: none, or one in fixed words with the number of modules."""
    count = len(groups(keys))
    return (f"{count} module{'s' if count > 1 else ''} {DOUBT}",) if count else ()


def doubtful(unused: Iterable[str]) -> tuple[str, ...]:
    """Those of ``unused`` that can belong to the trained network's output: named as no known training-only part."""
    return tuple(key for key in unused if kind_of(key) is None)
