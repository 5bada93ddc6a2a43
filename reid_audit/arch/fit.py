"""One entry of the index laid over one state_dict: what fits, what lacks, what is left."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import isqrt

from torch import Tensor, nn

from reid_audit.arch import catalogue, norms
from reid_audit.arch.canonical import under
from reid_audit.arch.catalogue import Build
from reid_audit.arch.index import HEAD, POSITION, STEM, Entry, Index, Shape
from reid_audit.arch.leftovers import is_token, joining_beside
from reid_audit.arch.norms import Norms
from reid_audit.arch.sequential import named

WRAPPED = "DenseNet's features were wrapped anew: whether the ReLU behind them was kept is in no key"


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
    norms: Norms = norms.PUBLISHED
    """How the file holds the BatchNorm layers."""
    tokens: tuple[str, ...] = ()
    """Those of ``unexpected`` that join the input: nothing else of a fit may be left out less."""
    doubts: tuple[str, ...] = ()
    """Why the network that was trained may be another one, in fixed wordings."""
    filed: Mapping[str, str] = field(default_factory=dict)
    """{key of ``state``: the key it was read from}."""
    construct: Callable[[Build], nn.Module] = catalogue.construct
    """What builds the network."""

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
    children: tuple[str, ...] = ()
    """Names of the children where the file numbers them, because they were rewrapped in an nn.Sequential."""

    def read(self, keys: Iterable[str]) -> dict[str, str]:
        """{the network's key: the file's key} for the keys with the prefix."""
        own = under(keys, self.stripped)
        if self.children:
            return {named(short, self.children): key for short, key in own.items()}
        return {self.added + short: key for short, key in own.items()} if self.added else own


def lay(index: Index, entry: Entry, state: Mapping[str, Tensor], spelling: Spelling, *, published: bool = True) -> Fit:
    """``entry`` over ``state``; with ``published`` False its BatchNorm layers may be held otherwise."""
    described = index.described(entry)
    filed = spelling.read(state)
    own = {short: state[key] for short, key in filed.items()}
    shapes = {key: tuple(value.shape) for key, value in own.items()}
    held = norms.PUBLISHED if published else norms.read({k: s for k, (s, _) in described.items()}, shapes)
    fitting = {k for k, (shape, role) in described.items() if k in own and _fits(shapes[k], shape, role)}
    special = special_tokens(entry, described)
    fitting -= {k for k in fitting if described[k][1] == POSITION and not _is_grid(shapes[k], described[k][0], special)}
    needed = [k for k, (_, role) in described.items() if role != HEAD and not held.absent(k)]
    inside = {k.partition(".")[0] for k, (_, role) in described.items() if role != HEAD}
    regions = head_regions(entry, described)
    left = [k for k in own if k not in described and k not in held.biases]
    outside = {key: value for key, value in state.items() if not key.startswith(spelling.stripped)}
    joining = [k for k in left if not _within(k, regions) and is_token(k, own)]
    foreign = [k for k in left if k not in joining and k.partition(".")[0] in inside and not _within(k, regions)]
    tokens = (*joining, *joining_beside(outside, own))
    unexpected = (*tokens, *foreign)
    return Fit(
        entry, described, own, outside,
        missing=tuple(k for k in needed if k not in fitting),
        unexpected=unexpected,
        extra=tuple(k for k in left if k not in unexpected),
        matched=len(fitting) + len(held.biases),
        total=len(state),
        norms=held,
        tokens=tokens,
        doubts=(WRAPPED,) if spelling.added and entry.family == "densenet" else (),
        filed=filed,
    )  # fmt: skip


def _fits(shape: Shape, published: Shape, role: int) -> bool:
    if shape == published:
        return True
    if len(shape) != len(published):
        return False
    if role == HEAD:
        return shape[1:] == published[1:]
    if role == STEM:
        return shape[0] == published[0] and _same_kind(shape[2:], published[2:])
    return role == POSITION and shape != published and len(set(shape) & set(published)) > 0


def special_tokens(entry: Entry, described: Mapping[str, tuple[Shape, int]]) -> int:
    """Tokens that have a position embedding beside those of the square grid of patches; the default size tells."""
    tokens = next((shape[-2] for shape, role in described.values() if role == POSITION and len(shape) in (2, 3)), 0)
    patch = next((shape[-1] for shape, _ in (described[k] for k in entry.stem) if len(shape) == 4), 16)
    grid = entry.side // patch
    return tokens - grid * grid if grid * grid <= tokens else tokens - isqrt(tokens) ** 2


def _is_grid(shape: Shape, published: Shape, special: int) -> bool:
    """Whether position embeddings of another number are those of a square image and the same special tokens."""
    if shape == published or len(shape) not in (2, 3):
        return True
    places = shape[-2] - special
    return shape[-1] == published[-1] and places > 0 and isqrt(places) ** 2 == places


def _same_kind(kernel: Shape, published: Shape) -> bool:
    """Kernels of patches are even and as wide as their stride: another one is another network."""
    return kernel == published or all(size % 2 for size in (*kernel, *published))


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
