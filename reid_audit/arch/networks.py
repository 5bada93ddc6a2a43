"""Which networks a file holds: several can lie side by side in it, and every one of them has to be identified."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from reid_audit.arch.copies import same
from reid_audit.arch.dotted import Tensors, common, dotted, left_of, parts_of
from reid_audit.arch.families import Config
from reid_audit.arch.identify import identify, match
from reid_audit.arch.leftovers import kind_of
from reid_audit.checkpoint import Weights
from reid_audit.checkpoint.load import BUFFERS
from reid_audit.checkpoint.shapes import kept_beside, networklike
from reid_audit.checkpoint.unwrap import shown
from reid_audit.errors import ArchitectureError
from reid_audit.records import ArchMatch

IMAGE_CHANNELS = 4
"""An image has at most so many: a first convolution tells the start of a network from a piece of one."""
PEELED = 6
"""With more parts side by side, none of them is tried as the one that is too many."""
FAILURES = 12
"""Lookups in one file that may find nothing: each takes up to a second."""
TRAINING_ONLY = ("auxiliary head of training", "loss, metric or threshold")
"""Kinds of weights that are no network of their own, however many they are."""
ALONE = "save the network to audit alone: torch.save(model.state_dict(), 'weights.pt')"


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """One network of a file, or what is shaped like one and is not known."""

    name: str
    """Where in the file it is, in words that can be shown; empty: at the top."""
    tensors: Tensors
    """What it is identified from: its own tensors, and for the first one of a group what lies beside it."""
    match: ArchMatch | None
    refusal: ArchitectureError | None = None
    """Why it is not known, where it is not."""
    copies: tuple[tuple[str, str], ...] = ()
    """(where else in the file the same weights are, how they are the same)"""
    beside: tuple[str, ...] = ()
    """Names of tensors beside it that it does not run, and that are too few for a network."""

    @property
    def place(self) -> str:
        """Where in the file it is, as sentences name it."""
        return self.name or "the top of the file"


def find_networks(
    weights: Sequence[Weights],
    *,
    name: str | None = None,
    factory: str | None = None,
    side: int | None = None,
    config: Config | None = None,
) -> tuple[Network, ...]:
    """Every network in the groups of tensors of a file, the first known one first; the same weights count once.

    A group is one network where one architecture explains it. What is left of it is further networks where it is
    shaped like them. ``name`` (``--arch``) or ``factory`` (``--arch-factory``) must fit one network at least; those
    that it does not fit are identified from their keys. Raises ArchitectureError where it fits none.
    """
    search = _Search(name, factory, side, config or {})
    found: list[Network] = []
    for group in weights:
        found += [_unread(group)] if group.refused else search.group(group)
    wanted = "option" if name is not None else "factory" if factory is not None else None
    if wanted is not None and search.misfit and not any(n.match is not None and n.match.by == wanted for n in found):
        raise search.misfit
    found = [search.without_names(network, found) for network in found]
    return _distinguished(sorted(_once(found), key=lambda network: network.match is None))


def _distinguished(found: Sequence[Network]) -> tuple[Network, ...]:
    """Networks with names that differ: a number is added where two are called alike."""
    used = Counter[str]()
    named = []
    for network in found:
        used[network.name] += 1
        count = used[network.name]
        named.append(network if count == 1 else replace(network, name=f"{network.place} ({count})"))
    return tuple(named)


def _unread(group: Weights) -> Network:
    error = ArchitectureError(
        "a network of the file cannot be read",
        closest=group.refused,
        remedy=ALONE,
    )
    return Network(group.name, {}, None, error)


@dataclass(slots=True, eq=False)
class _Search:
    name: str | None
    factory: str | None
    side: int | None
    config: Config
    failures: int = 0
    misfit: ArchitectureError | None = None
    """Why what the user asked for does not fit the first group."""

    def explain(self, tensors: Tensors) -> ArchMatch:
        """The architecture of ``tensors``, as asked for or by its keys. Raises ArchitectureError."""
        if self.failures >= FAILURES:
            raise ArchitectureError(
                "the file holds too much that is not known", closest=f"{FAILURES} lookups found nothing", remedy=ALONE
            )
        try:
            if self.factory is not None:
                return identify(tensors, factory=self.factory, side=self.side).match
            if self.name is not None:
                return match(tensors, name=self.name, side=self.side, config=self.config)
        except ArchitectureError as error:
            self.misfit = self.misfit or error
        try:
            return match(tensors, side=self.side, config=self.config)
        except ArchitectureError:
            self.failures += 1
            raise

    def group(self, weights: Weights) -> list[Network]:
        """The networks of one group; the names of several begin with what all its keys began with."""
        found = self.split(".".join(filter(None, (weights.name, weights.prefix))), dotted(weights.tensors))
        found = _without_training_only(found)
        return found if len(found) > 1 else [replace(found[0], name=weights.name)]

    def without_names(self, network: Network, found: Sequence[Network]) -> Network:
        """An unknown network that is the parameters of a known one in their order, as averages are often kept."""
        shapes = [value.shape for value in network.tensors.values()]
        for other in found if network.match is None else ():
            own = {k: v for k, v in other.tensors.items() if v.is_floating_point() and not k.endswith(BUFFERS)}
            if other.match is not None and shapes == [value.shape for value in own.values()]:
                tensors = dict(other.tensors) | dict(zip(own, network.tensors.values(), strict=True))
                return replace(network, tensors=tensors, match=self.explain(tensors), refusal=None)
        return network

    def split(self, name: str, tensors: Tensors) -> list[Network]:
        """The networks of one group."""
        try:
            found = self.explain(tensors)
        except ArchitectureError as error:
            return self.pieces(name, tensors, error)
        left = left_of(tensors, found.unused)
        if len(left) < len(found.unused):
            lost = Network(name, {}, None, _unknown(found.unused))
            return [Network(name, tensors, found), replace(lost, name=f"{name} (beside)".strip())]
        further, taken = self.further(name, left, common(tensors))
        if not taken:
            return (
                [_with_rest(name, tensors, found, left)] if left else [Network(_joined(name, tensors), tensors, found)]
            )
        own = {key: value for key, value in tensors.items() if key not in taken}
        try:
            found = self.explain(own)
        except ArchitectureError:
            own = dict(tensors)
        return [_with_rest(name, own, found, left_of(own, found.unused)), *further]

    def further(self, name: str, left: Tensors, shared: str) -> tuple[list[Network], Tensors]:
        """The networks in what another one leaves, and the tensors they take; ``shared`` begins the names of both."""
        if not looks_whole(left):
            return [], {}
        if self._known(left):
            return self.split(name, left), left
        parts = [part for part in parts_of(left, shared).values() if looks_whole(part)]
        if not parts:
            return [Network(_joined(name, left), left, None, _unknown(left))], left
        found = [network for part in parts for network in self._piece(name, part)]
        return found, {key: value for part in parts for key, value in part.items()}

    def pieces(self, name: str, tensors: Tensors, error: ArchitectureError) -> list[Network]:
        """The networks of a group that is not one architecture; one unknown network where none of them is known."""
        parts = parts_of(tensors, common(tensors))
        whole = {first: part for first, part in parts.items() if looks_whole(part)}
        if len(whole) > 1 or len(parts) > 1:
            for part in whole.values() if len(whole) <= PEELED else ():
                rest = {key: value for key, value in tensors.items() if key not in part}
                if looks_whole(rest) and self._alone(rest):
                    return [*self.split(name, rest), *self.split(name, part)]
            found = [network for part in whole.values() for network in self._piece(name, part)]
            if any(network.match is not None for network in found):
                few = [key for first, part in parts.items() if first not in whole for key in part]
                return _listed(found, few)
        return [Network(_joined(name, tensors), tensors, None, error)]

    def _known(self, tensors: Tensors) -> bool:
        """Whether some architecture explains a part of the tensors."""
        if not starts_with_an_image(tensors):
            return False
        try:
            self.explain(tensors)
        except ArchitectureError:
            return False
        return True

    def _alone(self, tensors: Tensors) -> bool:
        """Whether one architecture explains the tensors and leaves nothing that is shaped like a network."""
        if not starts_with_an_image(tensors):
            return False
        try:
            return not looks_whole(left_of(tensors, self.explain(tensors).unused))
        except ArchitectureError:
            return False

    def _piece(self, name: str, tensors: Tensors) -> list[Network]:
        if starts_with_an_image(tensors):
            return self.split(name, tensors)
        return [Network(_joined(name, tensors), tensors, None, _unknown(tensors))]


def _unknown(tensors: Iterable[str]) -> ArchitectureError:
    table = list(tensors)
    first = shown((table[0],))
    return ArchitectureError(
        "no architecture is looked up for weights beside a network that take no image",
        closest=f"{len(table)} tensors, the first is {first[:80]}",
        remedy=ALONE,
    )


def looks_whole(tensors: Tensors) -> bool:
    """Whether the tensors are as many as a network has."""
    return networklike({key: tuple(value.shape) for key, value in tensors.items() if value.is_floating_point()})


def starts_with_an_image(tensors: Tensors) -> bool:
    """Whether some convolution takes as few channels as an image has."""
    return any(value.dim() == 4 and value.shape[1] <= IMAGE_CHANNELS for value in tensors.values())


def _joined(name: str, tensors: Tensors) -> str:
    """``name`` with what all keys share behind it, in words that can be shown."""
    return ".".join(filter(None, (name, shown((common(tensors).removesuffix("."),)) if common(tensors) else "")))


def _with_rest(name: str, tensors: Tensors, found: ArchMatch, left: Tensors) -> Network:
    """A known network, named by what its own keys share, and the names of what lies beside it."""
    own = {key: value for key, value in tensors.items() if key not in left}
    beside = [shown((key,)) for key, value in left.items() if value.is_floating_point() and not kept_beside(key)]
    return Network(_joined(name, own), tensors, found, beside=tuple(beside))


def _without_training_only(found: list[Network]) -> list[Network]:
    """Unknown weights that are named as parts of training only lie beside the first known network."""
    if not any(network.match is not None for network in found):
        return found
    kept = [n for n in found if n.match is not None or not all(kind_of(key) in TRAINING_ONLY for key in n.tensors)]
    left = [network for network in found if network not in kept]
    return _listed(kept, [key for n in left for key, value in n.tensors.items() if value.is_floating_point()])


def _listed(found: list[Network], few: list[str]) -> list[Network]:
    """``found`` with the names of what lies beside, at its first known network."""
    first = next(network for network in found if network.match is not None)
    named = replace(first, beside=(*first.beside, *(shown((key,)) for key in few)))
    return [named if network is first else network for network in found]


def _once(found: list[Network]) -> list[Network]:
    """Networks with the same weights as another one become its copies."""
    kept: list[Network] = []
    for network in found:
        for index, other in enumerate(kept):
            if how := same(network.tensors, other.tensors):
                kept[index] = replace(other, copies=(*other.copies, (network.name, how)))
                break
            if (how := same(other.tensors, network.tensors)) and network.match is not None:
                kept[index] = replace(network, copies=(*other.copies, (other.name, how)))
                break
        else:
            kept.append(network)
    return kept
