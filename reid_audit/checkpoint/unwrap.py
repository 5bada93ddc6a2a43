"""Where the model's own entries are inside a checkpoint, and what else lies beside them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from reid_audit.checkpoint.inert import Inert, TensorSpec, UnsupportedSpec
from reid_audit.errors import CheckpointError

WRAPPERS = (
    "state_dict", "model_state_dict", "model_state", "network_weights", "network_state_dict", "net_state_dict",
    "weights", "model", "net", "network", "module", "params",
)  # fmt: skip
EMA_WRAPPERS = ("state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "params_ema", "ema", "teacher", "student")
PARTS = frozenset({"backbone", "encoder", "decoder", "head", "classifier", "neck", "fc", "projector"})
BOOKKEEPING = frozenset({"n_averaged"})
DEPTH = 6
TEXTS = 20_000

OPTIMISER = "optimiser state is in the file: it holds moments of the training gradients"
EMA = "an EMA copy of the weights is in the file: a second chance to read the training data"
BANK = "a memory bank is in the file: it holds features of single training images"
PERSONAL = "embedded metadata looks like names of people, files or folders (not shown)"
ROUNDED = "half precision: stored statistics are rounded, the audit sees less than a full-precision file shows"
MOMENTS = re.compile(r"(^|\.)(exp_avg|exp_avg_sq|momentum_buffer)$")
COPY = re.compile(r"(^|[._])(ema|encoder_k|momentum_encoder|teacher)[._]")
"""Names of a second, slowly following network among the keys (EMA, MoCo, BYOL, DINO)."""
MEMORY = re.compile(r"(^|\.)(queue|memory_bank|queue_\w*feat\w*)$")
PERSONAL_PATTERN = re.compile(
    r"(/home/|/Users/|/mnt/|/root/|/data\w*/|[A-Za-z]:\\|\\\\\w+\\|(?:/[\w.\- ]+){2,}|[\w.+-]+@[\w-]+\.\w{2,}"
    r"|\.(?:dcm|nii|nii\.gz|png|jpe?g|csv)\b|\bpatient|\bsubject_?id|\bmrn\b|\baccession)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, eq=False)
class Unwrapped:
    """The entries of the model, in file order, with keys as the model itself names them."""

    entries: dict[str, Any]
    wrapper: str
    findings: tuple[str, ...]


def is_tensor(value: Any) -> bool:
    """True for the description of a tensor."""
    return isinstance(value, TensorSpec | UnsupportedSpec)


def unwrap(document: Any) -> Unwrapped:
    """Find the state_dict in what a file holds and strip prefixes all its keys share. Raises CheckpointError."""
    if not isinstance(document, Mapping):
        raise CheckpointError(
            f"the file holds {_kind(document)}, not a state_dict",
            closest="a dictionary from names to tensors is read, also inside state_dict, model, ema and the like",
            remedy="torch.save(model.state_dict(), 'weights.pt')",
        )
    path, entries = _locate(document, ())
    entries = {key: value for key, value in entries.items() if key not in BOOKKEEPING}
    if not entries:
        raise CheckpointError(
            "the file holds a dictionary without tensors" if document else "the file holds an empty dictionary",
            closest=f"{len(document)} entries, none of them a tensor",
            remedy="torch.save(model.state_dict(), 'weights.pt')",
        )
    return Unwrapped(strip_prefixes(entries), ".".join(path), _beside(document, path))


def strip_prefixes(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Remove leading dotted parts that every key shares (``module.``, ``model.``, ``_orig_mod.``, any other)."""
    keys = list(entries)
    while len(keys) > 1:
        first, dot, _ = keys[0].partition(".")
        if not dot or not all(key.startswith(first + ".") and len(key) > len(first) + 1 for key in keys):
            break
        keys = [key[len(first) + 1 :] for key in keys]
    return dict(zip(keys, entries.values(), strict=True))


def _locate(node: Mapping[Any, Any], path: tuple[str, ...]) -> tuple[tuple[str, ...], dict[str, Any]]:
    children = {str(k): v for k, v in node.items() if isinstance(v, Mapping)} if len(path) < DEPTH else {}
    for name in (*WRAPPERS, *EMA_WRAPPERS):
        if name in children:
            found = _locate(children[name], (*path, name))
            if found[1]:
                return found
    own = {str(k): v for k, v in node.items() if is_tensor(v)}
    parts = {k: v for k, v in children.items() if k in PARTS}
    if own and not parts:
        return path, own
    if parts:
        nested = {f"{part}.{k}": v for part, child in parts.items() for k, v in _locate(child, path)[1].items()}
        if nested:
            return path, own | nested
    rest = [_locate(v, (*path, "(another key)")) for k, v in children.items() if not _is_optimiser(k, v)]
    return max(rest, key=lambda found: len(found[1]), default=(path, own))


def _is_optimiser(name: str, value: Any) -> bool:
    return "optim" in name.lower() or (isinstance(value, Mapping) and {"state", "param_groups"} <= set(map(str, value)))


def _beside(document: Mapping[Any, Any], path: tuple[str, ...]) -> tuple[str, ...]:
    found = []
    keys = list(_keys(document, path))
    if any(_is_optimiser(str(k), v) and v for k, v in document.items()) or any(MOMENTS.search(k) for k in keys):
        found.append(OPTIMISER)
    copies = [k for k in document if str(k) in EMA_WRAPPERS and str(k) not in path]
    if copies or any(COPY.search(key) for key in keys):
        found.append(EMA)
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
