"""Checkpoints as training frameworks write them, without those frameworks: their classes are made here.

Every class is importable by its name while a file is read, and says so when it is made, given a state or called: a
reader that imported anything would be found out.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch
from torch import nn

touched: list[str] = []
"""Names that were imported and used while nothing may be."""


class Touchy(type):
    """Notes that a class is called."""

    def __call__(cls, *arguments: Any, **named: Any) -> Any:
        touched.append(cls.__qualname__)
        return super().__call__(*arguments, **named)


def _note(self: Any, state: Any) -> None:
    touched.append(type(self).__qualname__)
    self.__dict__.update(state)


def _method(self: Any, *_arguments: Any) -> None:
    touched.append("a method")


@contextmanager
def importable(*names: str) -> Iterator[dict[str, Any]]:
    """Classes by dotted names, in modules that exist until the end; a dot behind a capital nests."""
    made: dict[str, Any] = {}
    modules: list[str] = []
    for name in names:
        module, _, leaf = name.rpartition(".")
        parts = module.split(".")
        for depth in range(1, len(parts) + 1):
            part = ".".join(parts[:depth])
            if part not in sys.modules:
                sys.modules[part] = ModuleType(part)
                modules.append(part)
        body = {"__module__": module, "__qualname__": leaf, "__setstate__": _note, "min": _method, "step": _method}
        base = nn.Module if leaf.endswith("Net") else object
        kind = type(leaf, (base,), body) if base is nn.Module else Touchy(leaf, (base,), body)
        setattr(sys.modules[module], leaf, kind)
        made[leaf] = kind
    try:
        yield made
    finally:
        for part in modules:
            del sys.modules[part]


def bare(kind: Any, **attributes: Any) -> Any:
    """An object that was never initialised, with these attributes."""
    found = object.__new__(kind)
    found.__dict__.update(attributes)
    return found


Maker = Callable[[dict[str, torch.Tensor]], Any]


def lightning(state: dict[str, torch.Tensor], made: dict[str, Any]) -> Any:
    """Hyper-parameters of a namespace, callbacks, a schedule with a function of its class."""
    return {
        "epoch": 3,
        "pytorch-lightning_version": "1.9.0",
        "state_dict": {f"model.{key}": value for key, value in state.items()},
        "callbacks": {"ModelCheckpoint{'monitor': 'val'}": {"best_model_score": torch.tensor(0.5), "x": made["Mode"]}},
        "lr_schedulers": [{"anneal_func": torch.optim.lr_scheduler.OneCycleLR._annealing_cos, "last_epoch": 3}],
        "hyper_parameters": bare(made["AttributeDict"], lr=0.1, optimizer=functools.partial(torch.optim.AdamW, lr=1.0)),
    }


def hydra(state: dict[str, torch.Tensor], made: dict[str, Any]) -> Any:
    """A configuration of OmegaConf, and a whole network of the project among the hyper-parameters."""
    meta = bare(made["ContainerMetadata"], object_type=dict, key_type=made["Metadata"])
    return {
        "state_dict": {f"net.{key}": value for key, value in state.items()},
        "hyper_parameters": {
            "cfg": bare(made["DictConfig"], _metadata=meta, _content={"a": bare(made["AnyNode"], _val=1)}),
            "net": made["SimpleNet"](),
            "loss": nn.CrossEntropyLoss(),
            "activation": nn.functional.relu,
        },
    }


def mmengine(state: dict[str, torch.Tensor], made: dict[str, Any]) -> Any:
    """A message hub whose histories hold functions of their class."""
    import numpy as np

    kind = made["HistoryBuffer"]
    history = bare(kind, _log_history=np.arange(4.0), max_length=10, statistics_methods={"min": kind.min})
    return {
        "state_dict": state,
        "message_hub": {"log_scalars": {"train/loss": history}, "runtime_info": {"cfg": bare(made["ConfigDict"], a=1)}},
        "meta": {"experiment_name": "x", "cfg": "model = dict()"},
        "param_schedulers": [{"last_step": 3}],
    }


def trainer(state: dict[str, torch.Tensor], made: dict[str, Any]) -> Any:
    """Training arguments beside the weights."""
    return {
        "model": state,
        "args": bare(made["TrainingArguments"], output_dir="out"),
        "version": made["IntervalStrategy"],
    }


def scheduler(state: dict[str, torch.Tensor], made: dict[str, Any]) -> Any:
    """A bound method of a schedule, and with it schedule, optimiser and parameters."""
    owner = bare(made["WarmupScheduler"], base_lrs=[0.1])
    return {"state_dict": state, "lr_scheduler": {"step": owner.step, "last_epoch": 3}}


def project(state: dict[str, torch.Tensor], made: dict[str, Any]) -> Any:
    """Classes of a project nobody else knows."""
    return {
        "net_state_dict": state,
        "config": bare(made["Config"], epochs=3),
        "history": [bare(made["record"], loss=1)],
    }


FRAMEWORKS: dict[str, tuple[tuple[str, ...], Callable[..., Any]]] = {
    "Lightning": (
        ("pytorch_lightning.utilities.parsing.AttributeDict", "pytorch_lightning.callbacks.Mode"), lightning,
    ),
    "Hydra": (
        ("omegaconf.dictconfig.DictConfig", "omegaconf.base.ContainerMetadata", "omegaconf.base.Metadata",
         "omegaconf.nodes.AnyNode", "src.models.components.SimpleNet"), hydra,
    ),
    "mmengine": (("mmengine.logging.history_buffer.HistoryBuffer", "mmengine.config.config.ConfigDict"), mmengine),
    "HF Trainer": (
        ("my_transformers.training_args.TrainingArguments", "my_transformers.trainer_utils.IntervalStrategy"), trainer,
    ),
    "a schedule's method": (("my_optim.WarmupScheduler",), scheduler),
    "a project": (("my_project.config.Config", "my_project.log.record"), project),
}  # fmt: skip
