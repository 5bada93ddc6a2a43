"""Checkpoints in several files: which part a file is, and the one command that merges them."""

from __future__ import annotations

import re

from reid_audit.errors import CheckpointError

PART = re.compile(r"(?P<stem>[\w.-]+?)-(?P<part>\d{3,6})-of-(?P<parts>\d{3,6})\.(?P<suffix>safetensors|bin|pt|pth)")
PLAIN = re.compile(r"[\w.-]+\.json")
INDEX = {False: "model.safetensors.index.json", True: "pytorch_model.bin.index.json"}
"""The usual names, of safetensors shards and of pickled ones."""
MERGE = (
    "python -c \"import json, safetensors.torch as s; w = json.load(open({index!r}))['weight_map']; "
    "s.save_file({{k: v for f in sorted({{*w.values()}}) for k, v in s.load_file(f).items()}}, 'merged.safetensors')\""
)
MERGE_PICKLED = (
    "python -c \"import json, torch; w = json.load(open({index!r}))['weight_map']; "
    "torch.save({{k: v for f in sorted({{*w.values()}}) "
    "for k, v in torch.load(f, weights_only=True).items()}}, 'merged.pt')\""
)
DISTRIBUTED = "python -m torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER merged.pt, and audit merged.pt"


def merge_command(index: str, name: str = "") -> str:
    """The command that makes one file of the shards an ``index`` lists; it fails where one is missing."""
    pickled = re.search(r"\.(bin|pt|pth)\"", index) is not None and '.safetensors"' not in index
    return command(pickled=pickled, name=name)


def command(*, pickled: bool, name: str = "") -> str:
    """The command for an index called ``name``, to be run in its folder."""
    index = name if PLAIN.fullmatch(name) else INDEX[pickled]
    return (MERGE_PICKLED if pickled else MERGE).format(index=index)


def part_of(name: str) -> CheckpointError | None:
    """The refusal of a file that is one part of several, told by its name."""
    found = PART.fullmatch(name)
    if found is not None and int(found["parts"]) > 1:
        index = f"{found['stem']}.{found['suffix']}.index.json"
        return CheckpointError(
            f"this is part {int(found['part'])} of {int(found['parts'])} of a sharded checkpoint",
            closest="a network is audited whole; the parts are listed in its index",
            remedy=f"in its folder run {command(pickled=found['suffix'] != 'safetensors', name=index)}",
        )
    if name.endswith(".distcp"):
        return CheckpointError(
            "this is a part of a distributed checkpoint", closest="told by its suffix .distcp", remedy=DISTRIBUTED
        )
    return None
