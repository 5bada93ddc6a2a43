"""Which entry of the index explains a state_dict, and how well."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from reid_audit.arch import catalogue
from reid_audit.arch.build_index import describe
from reid_audit.arch.canonical import Canonical, from_sequential, prefixes, under
from reid_audit.arch.index import HEAD, POSITION, STEM, Entry, Index, Shape, pack, shipped, unpack
from reid_audit.errors import ArchitectureError
from reid_audit.records import Candidate

RUNNERS_UP = 5
SHORTLIST = 12
WORTHWHILE = 0.5
"""A spelling that could reach less than this part of the best score so far is not looked at."""


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """One entry laid over one state_dict."""

    entry: Entry
    described: dict[str, tuple[Shape, int]]
    state: dict[str, Tensor]
    """The entries under the prefix, with keys as the network names them."""
    outside: dict[str, Tensor]
    """Entries of the file that do not have the prefix, with the file's keys."""
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
    notes: tuple[str, ...] = ()
    """What was folded or assumed before the comparison."""

    @property
    def complete(self) -> bool:
        """Whether the whole body is there and nothing contradicts it."""
        return not self.missing and not self.unexpected

    @property
    def coverage(self) -> float:
        """Share of the file's keys that are explained."""
        return self.matched / max(1, self.total)


@dataclass(frozen=True, slots=True)
class Spelling:
    """How the keys of a file have to be read so that they are a network's own."""

    stripped: str = ""
    """Prefix that is taken away."""
    added: str = ""
    """First part that is put back, where a whole network lives in one module and lost its name."""
    numbered: bool = False
    """Whether a ResNet's children are numbered, because it was rewrapped in an nn.Sequential."""

    def read(self, keys: Iterable[str]) -> dict[str, str]:
        """{the network's key: the file's key} for the keys with the prefix."""
        own = under(keys, self.stripped)
        if self.numbered:
            return {from_sequential(short): key for short, key in own.items()}
        return {self.added + short: key for short, key in own.items()} if self.added else own


@dataclass(frozen=True, slots=True)
class _Guess:
    score: float
    exact: int
    number: int
    part: float
    """Share explained of all keys, the file's and the network's: an estimate of a runner-up's coverage."""
    spelling: Spelling


def best(given: Canonical, *, name: str | None = None) -> tuple[Fit, tuple[Candidate, ...]]:
    """The best complete fit and its runners-up. Raises ArchitectureError with the near miss where none is complete."""
    index = shipped()
    state = given.state
    only = None
    if name is not None:
        index = _holding(index, name)
        only = _named(index, name)
    guesses = _guesses(index, state, only)
    if not guesses:
        raise _unknown(state)
    chosen, top = _first_complete(index, state, guesses)
    return replace(chosen, notes=given.notes), _candidates(index, chosen, top, guesses)


def _first_complete(index: Index, state: Mapping[str, Tensor], guesses: list[_Guess]) -> tuple[Fit, _Guess]:
    """The best guess that holds when every key is looked at. Raises ArchitectureError with the closest network."""
    near: list[Fit] = []
    for guess in guesses[:SHORTLIST]:
        fit = _lay(index, index.entries[guess.number], state, guess.spelling)
        if fit.complete:
            return fit, guess
        near.append(fit)
    raise _near_miss(max(near, key=lambda fit: fit.matched - len(fit.missing) - len(fit.unexpected)))


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
    """Entries by how well they explain the keys, over all spellings; the best spelling of each entry counts."""
    shapes: dict[str, Shape] = {key: tuple(value.shape) for key, value in state.items()}
    found: dict[int, _Guess] = {}
    top = 0.0
    for spelling, spelled, known in _spelled(index, shapes):
        if known < WORTHWHILE * top * len(shapes):
            break
        scores = index.score(spelled)
        share = scores.body / (index.sizes + len(shapes) - np.minimum(scores.named, len(shapes)))
        for number in np.argsort(-share, kind="stable")[: 4 * SHORTLIST] if only is None else only:
            guess = _Guess(
                float(share[number]),
                int(scores.exact[number]),
                int(number),
                float(scores.body[number] / (len(shapes) + index.sizes[number] - scores.body[number])),
                spelling,
            )
            old = found.get(guess.number)
            if guess.score > 0 and (old is None or (guess.score, guess.exact) > (old.score, old.exact)):
                found[guess.number] = guess
        top = max(top, float(share.max()))
    return sorted(found.values(), key=lambda guess: _rank(index, guess))


def _rank(index: Index, guess: _Guess) -> tuple[float, int, bool, int, str]:
    entry = index.entries[guess.number]
    return (-round(guess.score, 9), -guess.exact, entry.library != "torchvision", len(entry.name), entry.name)


def _spelled(index: Index, shapes: Mapping[str, Shape]) -> list[tuple[Spelling, dict[str, Shape], int]]:
    """Every spelling under which some network knows some key, with the number of keys known, most first."""
    first = {key.partition(".")[0] for key in shapes}
    tried = [Spelling(stripped=prefix) for prefix in prefixes(shapes)]
    tried += [Spelling(added=name + ".") for name in index.commons if name not in first]
    tried += [Spelling(stripped=s.stripped, numbered=True) for s in tried if f"{s.stripped}4.0.conv1.weight" in shapes]
    found = []
    for spelling in tried:
        spelled = {short: shapes[key] for short, key in spelling.read(shapes).items()}
        known = sum(short in index.keys for short in spelled)
        if known:
            found.append((spelling, spelled, known))
    return sorted(found, key=lambda row: -row[2])


def _lay(index: Index, entry: Entry, state: Mapping[str, Tensor], spelling: Spelling) -> Fit:
    described = index.described(entry)
    own = {short: state[key] for short, key in spelling.read(state).items()}
    fitting = {k for k, (shape, role) in described.items() if k in own and _fits(tuple(own[k].shape), shape, role)}
    missing = tuple(k for k, (_, role) in described.items() if role != HEAD and k not in fitting)
    inside = {k.partition(".")[0] for k, (_, role) in described.items() if role != HEAD}
    regions = head_regions(entry, described)
    left = [k for k in own if k not in described]
    unexpected = tuple(k for k in left if k.partition(".")[0] in inside and not _within(k, regions))
    outside = {key: value for key, value in state.items() if not key.startswith(spelling.stripped)}
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


def _candidates(index: Index, chosen: Fit, top: _Guess, guesses: list[_Guess]) -> tuple[Candidate, ...]:
    """Every network that is the same by shape, then the next best ones (their coverage is an estimate)."""
    others = [guess for guess in guesses if guess.number != chosen.entry.number]
    equal = [g for g in others if (g.score, g.exact) == (top.score, top.exact)]
    rest = [g for g in others if (g.score, g.exact) != (top.score, top.exact) and g.part > 0.5][:RUNNERS_UP]
    rows = [(g, chosen.coverage) for g in equal]
    rows += [(g, min(g.part, chosen.coverage * 0.999)) for g in rest]
    entries = index.entries
    return tuple(Candidate(name=entries[g.number].name, library=entries[g.number].library, coverage=c) for g, c in rows)


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
