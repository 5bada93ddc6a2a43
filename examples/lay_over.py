"""One file of an adapter, or of a head, and the public weights it stands on.

    python lay_over.py public.safetensors adapter_model.safetensors joined.safetensors
    python lay_over.py encoder.safetensors head.safetensors joined.safetensors --as fc

    reid-audit check joined.safetensors --base public.safetensors ...

Beside ``adapter_model.safetensors`` its ``adapter_config.json`` is read for the scaling. ``--as`` names the module that
the head's keys belong to. docs/how-to/other-networks.md says what the audit then measures.
"""

from __future__ import annotations

import argparse
import json
from math import sqrt
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

WRAPPER = "base_model.model."
"""What peft puts before every key."""


def joined(base: dict[str, Tensor], over: dict[str, Tensor], name: str = "") -> dict[str, Tensor]:
    """``base`` with the tensors of ``over`` added, or in place of those of the same name; ``name``: their module.

    A classifier of ``base`` under that name is thrown away. Raises ValueError where ``over`` has nothing to stand on.
    """
    lead = f"{name}." if name else ""
    own = {lead + key.removeprefix(WRAPPER): value for key, value in over.items()}
    adapted = {key.rpartition(".lora_")[0] for key in own if ".lora_" in key}
    strange = sorted(path for path in adapted if f"{path}.weight" not in base)
    if strange:
        raise ValueError(f"the base has no {strange[0]}.weight, to which an adapter is added")
    kept = {key: value for key, value in base.items() if not lead or not key.startswith(lead)}
    return {key: value.contiguous() for key, value in {**kept, **own}.items()}


def scaled(state: dict[str, Tensor], config: Path) -> dict[str, Tensor]:
    """``state`` with the scaling of ``adapter_config.json`` beside every pair of adapters. Raises ValueError."""
    said = json.loads(config.read_text(encoding="utf-8"))
    if said.get("alpha_pattern") or said.get("use_dora"):
        raise ValueError("adapters with a scaling of their own, or DoRA: merge them with peft")
    found = dict(state)
    for key, value in state.items():
        if ".lora_A" in key:
            rank = value.shape[0]
            factor = said["lora_alpha"] / (sqrt(rank) if said.get("use_rslora") else rank)
            found[f"{key.partition('.lora_A')[0]}.scaling"] = torch.tensor(float(factor))
    return found


def main() -> None:
    """Read two files, write the third."""
    asked = argparse.ArgumentParser()
    asked.add_argument("base", type=Path)
    asked.add_argument("over", type=Path)
    asked.add_argument("out", type=Path)
    asked.add_argument("--as", dest="name", default="")
    given = asked.parse_args()
    state = joined(load_file(given.base), load_file(given.over), given.name)
    config = given.over.parent / "adapter_config.json"
    save_file(scaled(state, config) if config.is_file() else state, given.out)


if __name__ == "__main__":
    main()
