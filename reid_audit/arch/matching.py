"""Which entry of the index explains a state_dict, and how well."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from torch import Tensor

from reid_audit.arch import by_shape, catalogue, near, norms
from reid_audit.arch.build_index import describe
from reid_audit.arch.canonical import Canonical, prefixes
from reid_audit.arch.fit import Fit, Spelling, lay
from reid_audit.arch.index import Index, Shape, pack, shipped, unpack
from reid_audit.arch.norms import Choice
from reid_audit.arch.sequential import numbered_as
from reid_audit.errors import ArchitectureError
from reid_audit.records import Candidate

RUNNERS_UP = 5
RIVAL = "the same keys and shapes as {}, which runs otherwise ({})"
TWIN = "the same keys as {} saved without its statistics: its normalisation layers are taken for {}"
SHORTLIST = 12
STATISTICS = ("running_mean", "running_var")
WORTHWHILE = 0.5
"""A spelling that could reach less than this part of the best score so far is not looked at."""


@dataclass(frozen=True, slots=True)
class _Guess:
    score: float
    exact: int
    number: int
    part: float
    """Share explained of all keys, the file's and the network's: an estimate of a runner-up's coverage."""
    spelling: Spelling


def best(given: Canonical, *, name: str | None = None, wish: Choice = norms.OPEN) -> tuple[Fit, tuple[Candidate, ...]]:
    """The best complete fit and its runners-up. Raises ArchitectureError with the near miss where none is complete.

    Networks as they are published come first; then transformers read off their shapes; then networks whose BatchNorm
    layers the file holds otherwise. ``wish`` leaves only those of the last kind.
    """
    search = _Search(given, wish, shipped(), None)
    if name is not None:
        index = _holding(search.index, name)
        search = _Search(given, wish, index, _named(index, name))
    for stage in (search.published, search.by_shape, search.without_statistics, search.without_norms):
        found = stage()
        if found is not None:
            return found
    raise search.refusal()


@dataclass(slots=True)
class _Search:
    """One state_dict against the index, stage by stage."""

    given: Canonical
    wish: Choice
    index: Index
    only: frozenset[int] | None
    """Entries that ``--arch`` leaves; none at all where it asks for a network read off its shapes."""
    failed: list[Fit] = field(default_factory=list)
    settled: Fit | None = None
    """A network that is complete, but says nothing to ``wish``."""

    def published(self) -> tuple[Fit, tuple[Candidate, ...]] | None:
        """As the libraries publish it; with a doubt where another network looks the same and runs otherwise."""
        found = self._in(self.index, published=True)
        if found is None or self.only is not None:
            return found
        doubts = (*_twins(self.index, self.given.state, found[0]), *found[0].doubts)
        return replace(found[0], doubts=doubts), found[1]

    def by_shape(self) -> tuple[Fit, tuple[Candidate, ...]] | None:
        """The transformer that keys and shapes describe, laid over the file."""
        shaped = None if self.only else by_shape.vision_transformer(self.given)
        if shaped is None:
            return None
        spelling = Spelling(stripped=shaped.prefix)
        fit = lay(shaped.index, shaped.index.entries[0], shaped.given.state, spelling)
        return self._heard(replace(fit, notes=shaped.given.notes, construct=shaped.construct), ())

    def without_statistics(self) -> tuple[Fit, tuple[Candidate, ...]] | None:
        """Normalised otherwise, or saved without buffers."""
        return self._in(self.index.without(STATISTICS), published=False)

    def without_norms(self) -> tuple[Fit, tuple[Candidate, ...]] | None:
        """BatchNorm folded into convolutions, or replaced by what has no weights."""
        return self._in(self.index.without_norms(), published=False)

    def _in(self, view: Index, *, published: bool) -> tuple[Fit, tuple[Candidate, ...]] | None:
        guesses = _guesses(view, self.given.state, self.only, self.given.prefer)
        found = _first_complete(self.index, self.given.state, guesses, self.failed, published=published)
        if found is None:
            return None
        doubts = () if self.only else (*found[0].doubts, *self._rivals(found[1], guesses))
        fit = replace(found[0], notes=self.given.notes, doubts=doubts)
        return self._heard(fit, _candidates(self.index, fit, found[1], guesses))

    def _heard(self, fit: Fit, others: tuple[Candidate, ...]) -> tuple[Fit, tuple[Candidate, ...]] | None:
        if not fit.complete:
            self.failed.append(fit)
        elif norms.unheard(fit.norms, self.wish):
            self.settled = fit
        else:
            return fit, others
        return None

    def _rivals(self, top: _Guess, guesses: Iterable[_Guess]) -> tuple[str, ...]:
        """The doubt where a network with the same body is as common, and pads or activates otherwise."""
        name = self.index.entries[top.number].name
        equal = (self.index.entries[guess.number].name for guess in guesses if guess.score == top.score)
        other = next((n for n in equal if n != name and _common_name(n) == _common_name(name)), None)
        if other is None or self.given.prefer:
            return ()
        return (RIVAL.format(other, f"--arch {name} or {other} decides"),)

    def refusal(self) -> ArchitectureError:
        """Why no stage found anything."""
        if self.settled is not None:
            return near.not_normalised(self.settled.entry.name)
        if not self.failed:
            return near.unknown(self.given.state)
        closest = max(self.failed, key=lambda fit: fit.matched - len(fit.missing) - len(fit.unexpected))
        return _near_miss(self.given.state, closest)


def _first_complete(
    index: Index, state: Mapping[str, Tensor], guesses: list[_Guess], failed: list[Fit], *, published: bool
) -> tuple[Fit, _Guess] | None:
    """The best guess that holds when every key is looked at; the others join ``failed``."""
    for guess in guesses[:SHORTLIST]:
        fit = lay(index, index.entries[guess.number], state, guess.spelling, published=published)
        if fit.complete:
            return fit, guess
        failed.append(fit)
    return None


def _common_name(name: str) -> str:
    """The name without what says that it pads as TensorFlow does, or is activated as OpenAI's CLIP is."""
    return name.removeprefix("tf_").replace("_quickgelu", "")


def _twins(index: Index, state: Mapping[str, Tensor], fit: Fit) -> tuple[str, ...]:
    """The doubt where a network with BatchNorm has the same keys but for its statistics."""
    kinds = [kind for kind, _ in fit.entry.normalisation if kind in ("GroupNorm", "InstanceNorm2d")]
    if not kinds or any(key.endswith(STATISTICS) for key in state):
        return ()
    guesses = _guesses(index.without(STATISTICS), state, None)
    found = _first_complete(index, state, guesses, [], published=False)
    if found is None or found[0].norms.kind != "without statistics" or found[0].matched < fit.matched:
        return ()
    return (TWIN.format(found[0].entry.name, kinds[0]),)


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
    if bare == by_shape.NAME:
        return frozenset()
    found = [e.number for e in index.entries if e.name == bare and library in ("", e.library)]
    if not found:
        raise near.no_such_name(bare, [e.name for e in index.entries])
    return frozenset(found)


def _guesses(index: Index, state: Mapping[str, Tensor], only: frozenset[int] | None, prefer: str = "") -> list[_Guess]:
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
    return sorted(found.values(), key=lambda guess: _rank(index, guess, prefer))


def _rank(index: Index, guess: _Guess, prefer: str) -> tuple[float, int, bool, bool, int, str]:
    entry = index.entries[guess.number]
    other = (not entry.name.startswith(prefer), entry.library != "torchvision", len(entry.name), entry.name)
    return (-round(guess.score, 9), -guess.exact, *other)


def _spelled(index: Index, shapes: Mapping[str, Shape]) -> list[tuple[Spelling, dict[str, Shape], int]]:
    """Every spelling under which some network knows some key, with the number of keys known, most first."""
    first = {key.partition(".")[0] for key in shapes}
    tried = [Spelling(stripped=prefix) for prefix in prefixes(shapes)]
    tried += [Spelling(added=name + ".") for name in index.commons if name not in first]
    tried += [Spelling(s.stripped, children=c) for s in tried if (c := numbered_as(shapes, s.stripped))]
    found = _known(index, shapes, tried)
    if not found or found[0][2] < WORTHWHILE * len(shapes):
        deeper = [Spelling(s.stripped, added=name + ".") for s in tried if s.stripped for name in index.commons]
        found = _known(index, shapes, [*tried, *deeper])
    return found


def _known(
    index: Index, shapes: Mapping[str, Shape], tried: Iterable[Spelling]
) -> list[tuple[Spelling, dict[str, Shape], int]]:
    found = []
    for spelling in tried:
        spelled = {short: shapes[key] for short, key in spelling.read(shapes).items()}
        known = sum(short in index.keys for short in spelled)
        if known:
            found.append((spelling, spelled, known))
    return sorted(found, key=lambda row: -row[2])


def _candidates(index: Index, chosen: Fit, top: _Guess, guesses: list[_Guess]) -> tuple[Candidate, ...]:
    """Every network that is the same by shape, then the next best ones (their coverage is an estimate)."""
    others = [guess for guess in guesses if guess.number != chosen.entry.number]
    equal = [g for g in others if (g.score, g.exact) == (top.score, top.exact)]
    rest = [g for g in others if (g.score, g.exact) != (top.score, top.exact) and g.part > 0.5][:RUNNERS_UP]
    rows = [(g, chosen.coverage) for g in equal]
    rows += [(g, min(g.part, chosen.coverage * 0.999)) for g in rest]
    entries = index.entries
    return tuple(Candidate(name=entries[g.number].name, library=entries[g.number].library, coverage=c) for g, c in rows)


def _near_miss(state: Mapping[str, Tensor], fit: Fit) -> ArchitectureError:
    wanted = {key: shape for key, (shape, _) in fit.described.items()}
    given = {key: tuple(value.shape) for key, value in fit.state.items()}
    against = near.contradiction(wanted, given, fit.missing)
    left = [*fit.tokens, *(k for k in fit.unexpected if k not in fit.tokens), *fit.extra, *fit.outside]
    counts = f"{fit.entry.name} ({fit.entry.library}): {fit.matched} of {fit.total} keys"
    closest = f"{counts}; {against}; {near.counted('unexpected', left)}"
    what = "no known architecture explains the state_dict"
    if fit.tokens and not fit.missing:
        what = f"the network takes tokens or embeddings that {fit.entry.name} does not know"
    odd = near.other_input(state, closest) or near.head_alone(state)
    return odd or near.Mismatch(what, closest=closest, remedy=near.FACTORY)
