"""Where the model's own entries are inside a checkpoint, and what else lies beside them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from reid_audit.checkpoint.groups import BOOKKEEPING, PARTS, Group, census, could_be_weights, mirrors, shapes_of
from reid_audit.checkpoint.inert import Inert
from reid_audit.checkpoint.shapes import GRADIENT, MEMORY, MOMENTS, is_matrix, networklike
from reid_audit.checkpoint.walk import Path, is_tensor
from reid_audit.errors import CheckpointError

WRAPPERS = (
    "state_dict", "model_state_dict", "model_state", "network_weights", "network_state_dict", "net_state_dict",
    "weights", "model", "net", "network", "module", "params",
)  # fmt: skip
EMA_WRAPPERS = ("state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "params_ema", "ema", "teacher", "student")
DEPTH = 6
TEXTS = 20_000

OPTIMISER = "optimiser state is in the file: it holds moments of the training gradients"
EMA = "an EMA copy of the weights is in the file: a second chance to read the training data"
GRADIENTS = "gradients are in the file: they were made from training images"
BANK = "a memory bank is in the file: it holds features of single training images"
PERSONAL = "embedded metadata looks like names of people, files or folders (not shown)"
ROUNDED = "half precision: stored statistics are rounded, the audit sees less than a full-precision file shows"
COPY = re.compile(r"(^|[._])(ema|encoder_k|momentum_encoder|teacher)[._]")
"""Names of a second, slowly following network among the keys (EMA, MoCo, BYOL, DINO)."""
PERSONAL_PATTERN = re.compile(
    r"(/home/|/Users/|/mnt/|/root/|/data\w*/|[A-Za-z]:\\|\\\\\w+\\|(?:/[\w.\- ]+){2,}|[\w.+-]+@[\w-]+\.\w{2,}"
    r"|\.(?:dcm|nii|nii\.gz|png|jpe?g|csv)\b|\bpatient|\bsubject_?id|\bmrn\b|\baccession)",
    re.IGNORECASE,
)


PLAIN = re.compile(
    r"(?!.*(patient|subject|mrn|accession))(?!(\D*\d){4})[a-z_]\w{0,60}|\d{1,3}", re.ASCII | re.IGNORECASE
)
"""Names that code gives: no room for a date or an identifier."""
HIDDEN = "(another key)"


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One network of a file: its entries in file order, with keys as the network itself names them."""

    name: str
    """Where in the file it is, in words that can be shown; empty: at the top."""
    entries: dict[str, Any]
    prefix: str = ""
    """What all names in the file began with, and no longer do, in words that can be shown."""


@dataclass(frozen=True, slots=True, eq=False)
class Unwrapped:
    """The networks of a file, and what lies beside them."""

    parts: tuple[Part, ...]
    """The one that counts as the model first."""
    wrapper: str
    """Where the first one is, as the report says it."""
    beside: tuple[str, ...]
    """Names of floating-point tensors that are in no network."""
    apart: tuple[str, ...]
    """Those of them that could be weights of one."""
    findings: tuple[str, ...]

    @property
    def entries(self) -> dict[str, Any]:
        """Entries of the first network."""
        return self.parts[0].entries


def unwrap(document: Any) -> Unwrapped:
    """Find every state_dict in what a file holds and strip prefixes all its keys share. Raises CheckpointError."""
    if not isinstance(document, Mapping):
        raise CheckpointError(
            f"the file holds {_kind(document)}, not a state_dict",
            closest="a dictionary from names to tensors is read, also inside state_dict, model, ema and the like",
            remedy="torch.save(model.state_dict(), 'weights.pt')",
        )
    main, groups, loose = _distinguished(document)
    entries = {key: value for key, value in main.entries.items() if key not in BOOKKEEPING}
    if not entries:
        raise CheckpointError(
            "the file holds a dictionary without tensors" if document else "the file holds an empty dictionary",
            closest=f"{len(document)} entries, none of them a tensor",
            remedy="torch.save(model.state_dict(), 'weights.pt')",
        )
    parts = [_part(main.real, entries), *(_part(group.path, group.entries) for group in groups)]
    names = [*main.entries, *loose, *(f"{'.'.join(group.path)}.{key}" for group in groups for key in group.entries)]
    beside = tuple(shown((key,)) for key in shapes_of(loose) if not MOMENTS.search(key))
    apart = tuple(shown((key,)) for key in could_be_weights(loose, entries))
    return Unwrapped(_named(parts), ".".join(main.path), beside, apart, _beside(document, main.path, names))


def _distinguished(document: Mapping[Any, Any]) -> tuple[_Located, list[Group], dict[str, Any]]:
    """The model, every other group shaped like a network, and tensors in neither."""
    main = _locate(document, ())
    places = frozenset(main.places.values())
    found = census(document, places)
    if networklike(shapes_of(main.entries)):
        return main, list(found.groups), found.loose
    matrices = sum(map(is_matrix, shapes_of(main.entries).values()))
    if matrices > 1 and (twins := mirrors(main.entries, found.loose)):
        taken = {f"{twin.path[0]}.{key}" for twin in twins for key in twin.entries}
        return main, [*found.groups, *twins], {k: v for k, v in found.loose.items() if k not in taken}
    whole = census(document)
    own = {".".join(place) for place in places}
    first = next((group for group in whole.groups if own <= {".".join((*group.path, k)) for k in group.entries}), None)
    if first is None and (not whole.groups or (matrices and main.path[-1:] and main.path[-1] in WRAPPERS)):
        return main, list(found.groups), found.loose
    first = first or max(whole.groups, key=lambda group: len(group.entries))
    return _of_group(first), [group for group in whole.groups if group is not first], whole.loose


def strip_prefixes(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Remove leading dotted parts that every key shares (``module.``, ``model.``, ``_orig_mod.``, any other)."""
    keys = list(entries)
    while len(keys) > 1:
        first, dot, _ = keys[0].partition(".")
        if not dot or not all(key.startswith(first + ".") and len(key) > len(first) + 1 for key in keys):
            break
        keys = [key[len(first) + 1 :] for key in keys]
    return dict(zip(keys, entries.values(), strict=True))


@dataclass(frozen=True, slots=True, eq=False)
class _Located:
    """The model's own tensors."""

    path: Path
    """With a placeholder for every name that is not a usual one."""
    real: Path
    entries: dict[str, Any]
    places: dict[str, Path]
    """Key -> full path in the file."""


def _locate(node: Mapping[Any, Any], path: Path, real: Path = ()) -> _Located:
    children = {str(k): v for k, v in node.items() if isinstance(v, Mapping)} if len(path) < DEPTH else {}
    for name in (*WRAPPERS, *EMA_WRAPPERS):
        if name in children:
            found = _locate(children[name], (*path, name), (*real, name))
            if found.entries:
                return found
    own = {str(k): v for k, v in node.items() if is_tensor(v)}
    alone = _Located(path, real, own, {key: (*real, key) for key in own})
    parts = {k: _locate(v, path, (*real, k)) for k, v in children.items() if k in PARTS}
    if any(part.entries for part in parts.values()):
        nested = {f"{name}.{k}": v for name, part in parts.items() for k, v in part.entries.items()}
        places = {f"{name}.{k}": v for name, part in parts.items() for k, v in part.places.items()}
        return _Located(path, real, own | nested, alone.places | places)
    if own and not parts:
        return alone
    others = {k: v for k, v in children.items() if not _is_optimiser(k, v)}
    rest = [_locate(v, (*path, HIDDEN), (*real, k)) for k, v in others.items()]
    return max(rest, key=lambda found: len(found.entries), default=alone)


def _of_group(group: Group) -> _Located:
    path = tuple(name if name in (*WRAPPERS, *EMA_WRAPPERS) else HIDDEN for name in group.path)
    return _Located(path, group.path, group.entries, {key: (*group.path, key) for key in group.entries})


def shown(path: Path) -> str:
    """A place in a file in words that can be shown: names of code, and short numbers, as they are."""
    return ".".join(part if PLAIN.fullmatch(part) else HIDDEN for name in path for part in name.split("."))


def _part(path: Path, entries: Mapping[str, Any]) -> Part:
    stripped = strip_prefixes(entries)
    prefix = next(iter(entries)).removesuffix(next(iter(stripped))).removesuffix(".")
    return Part(shown(path), stripped, shown((prefix,)) if prefix else "")


def _named(parts: list[Part]) -> tuple[Part, ...]:
    """Parts with names that differ: a number is added where two would be shown alike."""
    used = Counter[str]()
    named = []
    for part in parts:
        used[part.name] += 1
        name = part.name if used[part.name] == 1 else f"{part.name} {used[part.name]}".strip()
        named.append(replace(part, name=name))
    return tuple(named)


def _is_optimiser(name: str, value: Any) -> bool:
    return "optim" in name.lower() or (isinstance(value, Mapping) and {"state", "param_groups"} <= set(map(str, value)))


def _beside(document: Mapping[Any, Any], path: tuple[str, ...], names: Sequence[str]) -> tuple[str, ...]:
    found = []
    keys = [*_keys(document, path), *names]
    if any(_is_optimiser(str(k), v) and v for k, v in document.items()) or any(MOMENTS.search(k) for k in keys):
        found.append(OPTIMISER)
    copies = [k for k in document if str(k) in EMA_WRAPPERS and str(k) not in path]
    if copies or any(COPY.search(key) for key in keys):
        found.append(EMA)
    if any(GRADIENT.search(key) for key in keys):
        found.append(GRADIENTS)
    if any(MEMORY.search(key) for key in keys):
        found.append(BANK)
    if personal(_texts(document)):
        found.append(PERSONAL)
    return tuple(found)


def personal(texts: Iterator[str]) -> bool:
    """Whether any text looks like a path, a file name, an address or a patient id."""
    return any(PERSONAL_PATTERN.search(text) for text in texts)


def _keys(document: Mapping[Any, Any], path: tuple[str, ...]) -> Iterator[str]:
    node: Any = document
    for name in path:
        node = node.get(name, {}) if isinstance(node, Mapping) else {}
    return (str(k) for k in (node if isinstance(node, Mapping) else ()))


def _texts(document: Any) -> Iterator[str]:
    """Strings anywhere in the document except keys beside tensors, at most ``TEXTS`` of them."""
    seen: set[int] = set()
    stack: list[Any] = [document]
    left = TEXTS
    while stack and left > 0:
        node = stack.pop()
        left -= 1
        if isinstance(node, str):
            yield node[:2000]
            continue
        if isinstance(node, bytes):
            yield node[:2000].decode("utf-8", "replace")
            continue
        if id(node) in seen or is_tensor(node):
            continue
        seen.add(id(node))
        if isinstance(node, Mapping):
            stack.extend(v for v in node.values() if not is_tensor(v))
            stack.extend(k for k, v in node.items() if isinstance(k, str) and not is_tensor(v))
        elif isinstance(node, list | tuple | set | frozenset):
            stack.extend(node)
        elif isinstance(node, Inert):
            stack.extend(node.held)


def _kind(document: Any) -> str:
    if is_tensor(document):
        return "a single tensor"
    name = type(document).__name__
    return "an object of a class" if isinstance(document, Inert) else f"a {name}"
