"""Which entry of the index explains a state_dict, and how well."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from reid_audit.arch import catalogue
from reid_audit.arch.build_index import describe
from reid_audit.arch.canonical import canonical, prefixes, under
from reid_audit.arch.index import HEAD, POSITION, STEM, Entry, Index, Shape, pack, shipped, unpack
from reid_audit.errors import ArchitectureError
from reid_audit.records import Candidate

RUNNERS_UP = 5
SHORTLIST = 12


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """One entry laid over one state_dict."""

    entry: Entry
    described: dict[str, tuple[Shape, int]]
    state: dict[str, Tensor]
    """The entries under the prefix, with keys as the network names them."""
    outside: tuple[str, ...]
    """Keys of the file that do not have the prefix."""
    missing: tuple[str, ...]
    """Body keys that are absent or of another shape."""
    unexpected: tuple[str, ...]
    """Keys inside the network's own modules that it does not have."""
    extra: tuple[str, ...]
    """Keys beside the network (a projection head, a criterion), and new keys in its head."""
    matched: int
    """Keys explained with fitting shapes, head included where it fits."""
    total: int
    """Floating-point keys of the file."""

    @property
    def complete(self) -> bool:
        """Whether the whole body is there and nothing contradicts it."""
        return not self.missing and not self.unexpected

    @property
    def coverage(self) -> float:
        """Share of the file's keys that are explained."""
        return self.matched / max(1, self.total)


@dataclass(frozen=True, slots=True)
class _Guess:
    score: float
    exact: int
    number: int
    stripped: str
    added: str


def best(tensors: Mapping[str, Tensor], *, name: str | None = None) -> tuple[Fit, tuple[Candidate, ...]]:
    """The best complete fit and its runners-up. Raises ArchitectureError with the near miss where none is complete."""
    index = shipped()
    state = canonical(tensors)
    if not state:
        raise ArchitectureError(
            "the state_dict holds no floating-point weights", closest="nothing to compare", remedy="check the file"
        )
    only = None
    if name is not None:
        index = _holding(index, name)
        only = _named(index, name)
    guesses = _guesses(index, state, only)
    fits = [_lay(index, index.entries[guess.number], state, guess) for guess in guesses[:SHORTLIST]]
    if not fits:
        raise _unknown(state)
    complete = [fit for fit in fits if fit.complete]
    if not complete:
        raise _near_miss(fits[0])
    chosen = complete[0]
    top = guesses[fits.index(chosen)]
    ties = [index.entries[g.number] for g in guesses if (g.score, g.exact) == (top.score, top.exact)]
    return chosen, _candidates(chosen, fits, ties)


def _holding(index: Index, name: str) -> Index:
    """``index`` where it knows ``name``, else an index of that network alone, described now (a newer library)."""
    library, _, bare = name.rpartition("/")
    if any(entry.name == bare for entry in index.entries):
        return index
    for known in catalogue.LIBRARIES:
        if library in ("", known) and bare in catalogue.names(known):
            return unpack(pack([describe(known, bare)], catalogue.versions()))
    return index


def _named(index: Index, name: str) -> frozenset[int]:
    library, _, bare = name.rpartition("/")
    found = [e.number for e in index.entries if e.name == bare and library in ("", e.library)]
    if not found:
        near = difflib.get_close_matches(bare, [e.name for e in index.entries], n=3)
        raise ArchitectureError(
            f"no architecture is called {name}",
            closest=", ".join(near) or "no similar name",
            remedy="give a torchvision or timm name, or your own constructor: --arch-factory package.module:function",
        )
    return frozenset(found)


def _guesses(index: Index, state: Mapping[str, Tensor], only: frozenset[int] | None) -> list[_Guess]:
    """Entries by how well they explain the keys, over all prefixes; the best prefix of each entry counts."""
    shapes: dict[str, Shape] = {key: tuple(value.shape) for key, value in state.items()}
    found: dict[int, _Guess] = {}
    for stripped, added in _spellings(index, shapes):
        spelled = {added + short: shapes[key] for short, key in under(shapes, stripped).items()}
        scores = index.score(spelled)
        share = scores.body / (index.sizes + len(shapes) - np.minimum(scores.named, len(shapes)))
        for number in np.argsort(-share, kind="stable")[: 4 * SHORTLIST] if only is None else only:
            guess = _Guess(float(share[number]), int(scores.exact[number]), int(number), stripped, added)
            old = found.get(guess.number)
            if guess.score > 0 and (old is None or (guess.score, guess.exact) > (old.score, old.exact)):
                found[guess.number] = guess
    return sorted(found.values(), key=lambda guess: _rank(index, guess))


def _rank(index: Index, guess: _Guess) -> tuple[float, int, bool, int, str]:
    entry = index.entries[guess.number]
    return (-round(guess.score, 9), -guess.exact, entry.library != "torchvision", len(entry.name), entry.name)


def _spellings(index: Index, shapes: Mapping[str, Shape]) -> list[tuple[str, str]]:
    """(prefix to strip, prefix to add): the latter where a whole network lives in one module and lost its name."""
    stripped = [(prefix, "") for prefix in prefixes(shapes)]
    first = {key.partition(".")[0] for key in shapes}
    common = sorted({entry.common for entry in index.entries if entry.common and entry.common not in first})
    return [*stripped, *(("", name + ".") for name in common)]


def _lay(index: Index, entry: Entry, state: Mapping[str, Tensor], guess: _Guess) -> Fit:
    described = index.described(entry)
    origin = {guess.added + short: key for short, key in under(state, guess.stripped).items()}
    own = {short: state[key] for short, key in origin.items()}
    fitting = {k for k, (shape, role) in described.items() if k in own and _fits(tuple(own[k].shape), shape, role)}
    missing = tuple(k for k, (_, role) in described.items() if role != HEAD and k not in fitting)
    inside = {k.partition(".")[0] for k, (_, role) in described.items() if role != HEAD}
    regions = head_regions(entry, described)
    left = [k for k in own if k not in described]
    unexpected = tuple(k for k in left if k.partition(".")[0] in inside and not _within(k, regions))
    outside = tuple(key for key in state if not key.startswith(guess.stripped))
    extra = tuple(k for k in left if k not in unexpected)
    return Fit(entry, described, own, outside, missing, unexpected, extra, len(fitting), len(state))


def _fits(shape: Shape, published: Shape, role: int) -> bool:
    if shape == published:
        return True
    if len(shape) != len(published):
        return False
    if role == HEAD:
        return shape[1:] == published[1:]
    if role == STEM:
        return shape[0] == published[0]
    return role == POSITION and shape != published and len(set(shape) & set(published)) > 0


def head_regions(entry: Entry, described: Mapping[str, tuple[Shape, int]]) -> tuple[str, ...]:
    """Modules that hold the head and nothing of the body, as high up as that is true (``classifier``, ``head.fc``)."""
    body = [key for key, (_, role) in described.items() if role != HEAD]
    regions: dict[str, None] = {}
    for key in entry.head:
        region = key.rpartition(".")[0]
        while "." in region and not any(k.startswith(region.rpartition(".")[0] + ".") for k in body):
            region = region.rpartition(".")[0]
        regions[region] = None
    return tuple(regions)


def _within(key: str, regions: tuple[str, ...]) -> bool:
    return any(key.startswith(region + ".") for region in regions)


def _candidates(chosen: Fit, fits: list[Fit], ties: list[Entry]) -> tuple[Candidate, ...]:
    """Every network that is the same by shape, then the next best ones."""
    equal = [entry for entry in ties if entry is not chosen.entry]
    known = {chosen.entry.number, *(entry.number for entry in equal)}
    others = [fit for fit in fits if fit.entry.number not in known and len(fit.missing) < len(fit.described) // 2]
    rest = [(fit.entry, min(_part(fit), chosen.coverage * 0.999)) for fit in others[:RUNNERS_UP]]
    return tuple(
        Candidate(name=entry.name, library=entry.library, coverage=coverage)
        for entry, coverage in [*((entry, chosen.coverage) for entry in equal), *rest]
    )


def _part(fit: Fit) -> float:
    """Coverage of a runner-up, lowered by what it lacks."""
    return fit.matched / max(1, fit.total + len(fit.missing))


def _unknown(state: Mapping[str, Tensor]) -> ArchitectureError:
    first = next(iter(state))
    return ArchitectureError(
        "no known architecture shares a single key with the state_dict",
        closest=f"{len(state)} keys, the first is {first[:80]}",
        remedy="give its constructor: --arch-factory package.module:function",
    )


def _near_miss(fit: Fit) -> ArchitectureError:
    missing = f"first missing {fit.missing[0]}" if fit.missing else "none missing"
    left = (*fit.unexpected, *fit.extra, *fit.outside)
    unexpected = f"first unexpected {left[0][:80]}" if left else "none unexpected"
    return ArchitectureError(
        "no known architecture explains the state_dict",
        closest=f"{fit.entry.name} ({fit.entry.library}): {fit.matched} of {fit.total} keys; {missing}; {unexpected}",
        remedy="name it with --arch NAME, or give its constructor: --arch-factory package.module:function",
    )
