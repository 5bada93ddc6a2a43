"""Well-formed files without a network of their own: what they are, and which file to give instead."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from reid_audit.checkpoint.formats import SAVE
from reid_audit.checkpoint.globals import modern
from reid_audit.checkpoint.inert import Inert, TensorSpec, UnsupportedSpec
from reid_audit.errors import CheckpointError

WEIGHTS = "give the file with the weights, such as model.safetensors, pytorch_model.bin or checkpoint_final.pth"
PARTS: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({"state", "param_groups"}), "an optimiser's state"),
    (frozenset({"fp32_flat_groups"}), "an optimiser's state"),
    (frozenset({"base_lrs", "last_epoch"}), "a learning-rate schedule's state"),
    (frozenset({"last_epoch", "_step_count"}), "a learning-rate schedule's state"),
    (frozenset({"growth_factor", "backoff_factor"}), "a gradient scaler's state"),
    (frozenset({"python", "numpy", "cpu"}), "the states of random number generators"),
)
"""Keys that together tell what a dictionary is."""
PICKLES = {
    "sklearn": "a scikit-learn model", "xgboost": "an XGBoost model", "lightgbm": "a LightGBM model",
    "catboost": "a CatBoost model", "keras": "a Keras model", "tensorflow": "a TensorFlow model",
    "pandas": "a table of pandas", "paddle": "a Paddle model",
}  # fmt: skip
"""Package named in a plain pickle -> what it is."""
ADAPTER = re.compile(r"\.?\b(lora_(A|B|up|down|embedding_A|embedding_B)|hada_w\d_[ab]|ia3_l|oft_r)\b")
BASES = ("weight", "base_layer.weight", "base.weight")
"""What an adapted layer calls the weights that its adapters are added to."""
PROMPT = re.compile(r"(^|\.)prompt_embeddings(\.|$)")


def refuse_other_objects(document: Any) -> None:
    """Raise CheckpointError for what is saved beside a network: optimisers, schedules, arguments, other objects."""
    if isinstance(document, Inert):
        name = modern(type(document).named)
        arguments = name.rpartition(".")[2] in ("TrainingArguments", "Seq2SeqTrainingArguments", "Namespace")
        raise CheckpointError(
            f"the file holds {'training arguments' if arguments else f'an object of {name[:80]}'}, not a state_dict",
            closest="a dictionary from names to tensors is read, and a pickled network",
            remedy=WEIGHTS if arguments else "torch.save(model.state_dict(), 'weights.pt')",
        )
    if not isinstance(document, Mapping):
        return
    keys = {str(key) for key in document}
    for needed, kind in PARTS:
        if needed <= keys:
            raise CheckpointError(
                f"the file holds {kind}, not a network",
                closest=f"told by its keys {', '.join(sorted(needed))}",
                remedy=WEIGHTS,
            )
    if {"shadow_params", "decay"} <= keys:
        raise CheckpointError(
            "the file holds averaged parameters without their names",
            closest="a list named shadow_params (torch_ema)",
            remedy="copy them into the network (ema.copy_to(model.parameters())) and save model.state_dict()",
        )


def refuse_adapters(entries: Iterable[str]) -> None:
    """Raise CheckpointError where the entries are adapters and what they are added to is in another file."""
    keys = set(entries)
    prompts = [key for key in keys if PROMPT.search(key)]
    adapters = [key for key in keys if ADAPTER.search(key)]
    bases = {key[: found.start()] for key in adapters if (found := ADAPTER.search(key))}
    whole = any(".".join(filter(None, (base, end))) in keys for base in bases for end in BASES)
    if whole or not (adapters or (prompts and len(prompts) == len(keys))):
        return
    first = min(adapters or prompts)
    raise CheckpointError(
        "the file holds adapters (LoRA and the like) without the network they are added to",
        closest=f"{len(adapters or prompts)} of {len(keys)} tensors are adapters, such as {first[:80]}",
        remedy="merge them (model.merge_and_unload().save_pretrained('merged')) and audit merged/model.safetensors "
        "with --base; docs/how-to/other-networks.md merges them without peft",
    )


def refuse_joblib(names: Iterable[str]) -> None:
    """Raise CheckpointError for a dump of joblib: arrays stand between its opcodes."""
    if any(name.startswith("joblib.numpy_pickle.") for name in names):
        raise CheckpointError(
            "this is a dump of joblib, most often a scikit-learn model",
            closest="its pickle names joblib.numpy_pickle",
            remedy="give the checkpoint of a PyTorch network",
        )


def refuse_other_pickles(names: Iterable[str], document: Any) -> None:
    """Raise CheckpointError for a plain pickle without a dictionary of arrays."""
    if isinstance(document, Mapping) and _holds_tensors(document):
        return
    packages = {name.partition(".")[0] for name in names}
    kind = next((f", {said}" for package, said in PICKLES.items() if package in packages), "")
    if any("distributed.checkpoint" in name for name in names):
        kind = ", the index of a distributed checkpoint"
    raise CheckpointError(
        f"this is a plain pickle{kind}, not a torch.save file",
        closest="torch.save files start with a zip header or torch's magic number; a dictionary of arrays is read, too",
        remedy=SAVE,
    )


def _holds_tensors(document: Mapping[Any, Any]) -> bool:
    inner = [value for part in document.values() for value in (part, *_values(part))]
    return any(isinstance(value, TensorSpec | UnsupportedSpec) for value in inner)


def _values(part: Any) -> tuple[Any, ...]:
    return tuple(part.values()) if isinstance(part, Mapping) else ()
