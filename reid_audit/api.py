"""What ``reid-audit check``, ``inspect`` and ``render`` do, for programs: data in, records out, nothing printed.

    import reid_audit

    result = reid_audit.check(model, reference=training_images, holdout=other_images, budget="10m")
    print(result.verdict.outcome.value)
    print(reid_audit.render(result, "markdown"))

Images in memory are written to a private temporary folder (mode 0700) for the time of the audit and then take the same
way as files on disk; a module in memory is written as safetensors and known by its weights, as a stranger would know
it. Both folders are removed at the end, whatever happens.
"""

from __future__ import annotations

import difflib
import os
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

import torch
from pydantic import ValidationError
from safetensors.torch import save_file
from torch import nn

from reid_audit.arch.beside import config_beside
from reid_audit.arch.networks import Network, find_networks
from reid_audit.checking.caller import Caller
from reid_audit.checking.options import CheckOptions, seconds
from reid_audit.checking.rules import rules_of
from reid_audit.checking.steps import carry_out
from reid_audit.checkpoint import load_checkpoint, screen
from reid_audit.cohort import parse_source
from reid_audit.cohort.memory import Images, label_in, write_source
from reid_audit.errors import CheckpointError, PolicyError
from reid_audit.observer import Noted, Observer, SilentObserver
from reid_audit.origins import fetched
from reid_audit.records import AuditResult, CheckpointSummary, Policy
from reid_audit.report import FORMATS, Format, publish
from reid_audit.report import render as rendered

__all__ = ["Images", "Inspection", "Options", "check", "inspect", "render"]
COHORTS = ("reference", "holdout", "prior")


class Options(TypedDict, total=False):
    """The options of ``reid-audit check`` under their own names; what they mean stands in docs/policy.md and --help."""

    prior: str | Path | Images | Any
    prior_patients: Path
    strata: tuple[str, ...]
    label: str | tuple[str, ...]
    """A column, or several columns of findings."""
    budget: str | float
    """``"10m"``, or seconds."""
    profile: Literal["ci", "standard", "deep"]
    method: str
    base: str | Path
    encoder: str | Path
    repeats: int
    cache: Path
    side: int
    preprocess: Literal["infer", "unit", "half", "imagenet", "xrv"]
    head: Literal["softmax", "sigmoid", "regression"]
    device: Literal["auto", "cpu", "cuda"]
    deterministic: bool
    arch: str
    arch_factory: str
    seed: int
    demographics: str
    waivers: Path
    indicators_only: bool
    formats: tuple[str, ...]
    """Reports to write below ``out``; default: all."""
    published_as: str
    resume: bool


KNOWN = ("reference", "holdout", "policy", "out", *Options.__annotations__)
"""Names of what ``check`` takes beside the checkpoint and an observer."""


class Called(CheckOptions):
    """The options of the command that a call is. What was in memory is written below ``place``, for its time."""

    place: Path

    def temporary(self, place: str | Path) -> bool:
        """Whether what lies there is removed with the end of the call."""
        return Path(place).is_relative_to(self.place)


class Inspection(TypedDict):
    """What a file is: its summary, and every network in it with what its statistics could give away."""

    checkpoint: CheckpointSummary
    networks: tuple[Network, ...]


def check(
    checkpoint: str | os.PathLike[str] | nn.Module,
    reference: Any = None,
    holdout: Any = None,
    *,
    policy: Policy | str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    observer: Observer | None = None,
    **options: Unpack[Options],
) -> AuditResult:
    """Audit a model; the same answer that ``reid-audit check`` gives, as a record.

    checkpoint: a file, a MONAI bundle, a URI such as ``hf://OWNER/MODEL@REVISION``, or a module whose weights are to be
    released. reference, holdout: the training images and those of other patients from the same source: a path as for
    ``--reference``, ``Images``, an array or tensor, a data set, or a data frame. policy: a ``Policy``, a policy file,
    or None for the nearest ``reid-audit.toml``. out: the folder of runs in which reports and restricted evidence are
    kept; None: nothing is written. observer: notices every stage.
    Raises AuditError subclasses (their ``exit_code`` is that of the command) where no verdict can exist.
    """
    began, observer = time.monotonic(), observer or SilentObserver()
    with tempfile.TemporaryDirectory(prefix="reid-audit-") as made:
        place = Path(made)
        given = {"reference": reference, "holdout": holdout, "out": place / "runs" if out is None else out, **options}
        file, own = (None, policy) if isinstance(policy, Policy) else (policy, None)
        asked, rules = rules_of(_asked(checkpoint, {**given, "policy": file}, place), own)
        caller = Caller(observer, began, note=lambda line: observer.notice(Noted(line)))
        return carry_out(asked, rules, caller).audited.result


def inspect(checkpoint: str | os.PathLike[str] | nn.Module, *, side: int | None = None) -> Inspection:
    """What a file or module is and how it was identified. Raises AuditError subclasses where it cannot be read.

    A network that is not known is among the networks, with its ``refusal``.
    """
    with ExitStack() as stack:
        place = stack.enter_context(tempfile.TemporaryDirectory(prefix="reid-audit-"))
        path = stack.enter_context(fetched(_file_of(checkpoint, Path(place)))).file
        screen(path)
        loaded = load_checkpoint(path)
        networks = find_networks(loaded.networks, side=side, config=config_beside(path))
        return Inspection(checkpoint=loaded.summary, networks=networks)


def render(result: AuditResult, format: Format = "html") -> str:
    """The public report of ``result``: one of ``FORMATS``. It shows no patient."""
    if format not in FORMATS:
        raise ValueError(f"no format is called {format}: {', '.join(FORMATS)}")
    return rendered(publish(result), format)


def _asked(checkpoint: str | os.PathLike[str] | nn.Module, given: dict[str, Any], place: Path) -> Called:
    """The options of the command that this call is, what is in memory written below ``place``.

    Raises PolicyError for options that the command refuses too.
    """
    for name in given:
        if name not in KNOWN:
            (near,) = difflib.get_close_matches(name, KNOWN, n=1, cutoff=0.0)
            raise PolicyError(f"unknown option {name!r}", closest=near, remedy="docs/python.md lists them")
    texts = {side: _source(given.pop(side, None), place / side) for side in COHORTS}
    if isinstance(budget := given.pop("budget", None), str):
        try:
            budget = seconds(budget)
        except ValueError as error:
            raise PolicyError(str(error), closest="budget", remedy="give seconds, or a text such as 10m") from error
    sides = [text for side, text in texts.items() if side != "prior" and text is not None]
    if isinstance(given.get("label"), list | tuple):
        given["label"] = ",".join(given["label"])
    labels = {_label_of(text) for text in sides}
    if any(text.startswith(str(place)) for text in sides) and len(labels) == 1 and None not in labels:
        given.setdefault("label", labels.pop())
    own = {"budget": budget, "checkpoint": _file_of(checkpoint, place), "place": place}
    try:
        return Called.model_validate({**given, **texts, **own})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise PolicyError(
            f"the option {name}: {first['msg']}", closest=name, remedy="see reid-audit check --help"
        ) from error


def _source(given: Any, folder: Path) -> str | None:
    """A path as it is given; anything else as a manifest below ``folder``."""
    if given is None or isinstance(given, str | os.PathLike):
        return None if given is None else os.fspath(given)
    return str(write_source(given, folder))


def _label_of(text: str) -> str | None:
    """The training labels that a source's table names by itself."""
    path, _ = parse_source(text)
    return label_in(path) if path.suffix == ".csv" and path.is_file() else None


def _file_of(checkpoint: str | os.PathLike[str] | nn.Module, place: Path) -> str:
    """The file or URI itself, or a module's weights as one. Raises CheckpointError for anything else."""
    if isinstance(checkpoint, str | os.PathLike):
        return os.fspath(checkpoint)
    if not isinstance(checkpoint, torch.nn.Module):
        raise CheckpointError(
            f"a checkpoint of type {type(checkpoint).__name__}",
            closest="a path, a URI or a torch.nn.Module",
            remedy="give the file that is to be released, or the module",
        )
    path = place / f"{type(checkpoint).__name__}.safetensors"
    save_file({key: value.detach().cpu().clone() for key, value in checkpoint.state_dict().items()}, path)
    return str(path)
