"""The YAML block at the head of a model card: one key put in or replaced, every other byte as it was."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

FRONT = re.compile(r"^(\s*---(?:\r\n|\r|\n))([\S\s]*?)((?:\r\n|\r|\n)---[ \t]*(?:\r\n|\n|$))")
"""The block, as the Hub and ``huggingface_hub.ModelCard`` find it."""


def with_keys(card: str, entries: dict[str, str], line_end: str) -> str:
    """``card`` with each key's whole entry, as YAML text, in its block.

    Raises ValueError where the block is not a plain list of keys, and yaml's own errors where it is not YAML.
    """
    found = FRONT.match(card)
    if found is None:
        added = line_end.join(entries.values())
        return f"---{line_end}{added}{line_end}---{line_end}{line_end}{card}"
    opening, block, closing = found.groups()
    for key, entry in entries.items():
        place = place_of(block, key)
        if place is not None:
            block = block[: place[0]] + entry + block[place[1] :]
        else:
            block = f"{block}{line_end}{entry}" if block.strip() else entry
    return opening + block + closing + card[found.end() :]


def value_of(card: str, key: str) -> Any:
    """What stands under ``key`` in the block of ``card``, as plain data; None where nothing does."""
    found = FRONT.match(card)
    read = import_module("yaml").safe_load(found[2]) if found is not None else None
    return read.get(key) if isinstance(read, dict) else None


def place_of(block: str, key: str) -> tuple[int, int] | None:
    """First character of the entry of ``key``, and the one behind its last, comments after it left out."""
    yaml: Any = import_module("yaml")
    top = yaml.compose(block, Loader=yaml.SafeLoader)
    if top is None:
        return None
    if not isinstance(top, yaml.MappingNode) or top.flow_style:
        raise ValueError("its block at the top is not a plain list of 'key: value' lines")
    places = [(name.start_mark.index, _end(value)) for name, value in top.value if name.value == key]
    if len(places) > 1:
        raise ValueError(f"{key} stands {len(places)} times in its block at the top")
    if not places:
        return None
    start, end = places[0]
    return start, start + len(block[start:end].rstrip())


def _end(node: Any) -> int:
    """Behind the last character of a node; a block's own mark is behind the comments that follow it."""
    if isinstance(node.value, list) and node.value and not node.flow_style:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.index)
