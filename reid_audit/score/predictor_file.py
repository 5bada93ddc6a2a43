"""Predictor files: safetensors with the card in the metadata. Nothing in them can run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor

from reid_audit.artefacts.provenance import origin_entries, read_origin
from reid_audit.artefacts.storage import PriorFile, read_prior_file, write_tensors
from reid_audit.errors import PriorError
from reid_audit.records import PredictorCard
from reid_audit.score.calibration import Floats
from reid_audit.score.predictors import LinearModel, Predictors, feature_count

FORMAT = "reid-audit-demographics-1"
KIND = "demographics"
FEATURES = "wavelet"
SHIPPED = Path(__file__).parent / "data" / "age-sex-64.safetensors"
"""Made from the public NIH ChestX-ray14; docs/demographics.md says how, and how well it reads."""
SMALLEST, LARGEST = 8, 512
"""Sides a file may declare."""


def save_predictors(predictors: Predictors, path: Path, *, recipe: str = "") -> None:
    """Write weights, card and, for public films, their perceptual hashes and patient ids."""
    fields = predictors.card.model_dump(mode="json", exclude={"sha256", "overlap", "source"})
    tensors = {"centre": _tensor(predictors.centre), "spread": _tensor(predictors.spread)}
    for name, model in (("age", predictors.age), ("sex", predictors.sex)):
        if model is not None:
            tensors[f"{name}.weights"] = _tensor(model.weights)
            tensors[f"{name}.range"] = torch.tensor([model.intercept, model.low, model.high], dtype=torch.float64)
    known, entries = origin_entries(predictors.origin)
    write_tensors(
        path,
        tensors | known,
        format=FORMAT,
        kind=KIND,
        features=FEATURES,
        card=json.dumps(fields, sort_keys=True),
        recipe=recipe,
        **entries,
    )


def load_predictors(path: Path, source: Literal["shipped", "given"] = "given") -> Predictors:
    """The predictors in a file of ``save_predictors``.

    Raises PriorError where it is unreadable, of another format, or its tensors do not fit.
    """
    file = read_prior_file(path, noun="age and sex predictor")
    declared = file.metadata.get("format", ""), file.metadata.get("features", "")
    if declared != (FORMAT, FEATURES):
        raise PriorError(
            f"{path.name} is not an age and sex predictor",
            closest=f"format {declared[0] or '(none)'}, features {declared[1] or '(none)'}; "
            f"needed: {FORMAT}, {FEATURES}",
            remedy="make one with 'reid-audit prior demographics', or leave --demographics out",
        )
    card = _card(file, source)
    count = feature_count(card.side)
    centre, spread = (_vector(file, name, count) for name in ("centre", "spread"))
    age, sex = (_model(file, name, count) for name in ("age", "sex"))
    if not (spread > 0).all() or (age is None and sex is None):
        raise _damaged(file, "a spread that is not positive" if age or sex else "neither age nor sex")
    return Predictors(card, centre, spread, age, sex, read_origin(file))


def shipped_predictors() -> Predictors:
    """The packaged predictor for frontal chest radiographs."""
    return load_predictors(SHIPPED, "shipped")


def _card(file: PriorFile, source: Literal["shipped", "given"]) -> PredictorCard:
    try:
        fields = json.loads(file.metadata["card"])
        card = PredictorCard.model_validate({**fields, "sha256": file.sha256, "source": source, "overlap": "unknown"})
    except (KeyError, TypeError, ValueError, ValidationError) as error:
        raise _damaged(file, "its card cannot be read") from error
    if not SMALLEST <= card.side <= LARGEST:
        raise _damaged(file, f"side {card.side}")
    return card


def _model(file: PriorFile, name: str, count: int) -> LinearModel | None:
    if f"{name}.weights" not in file.tensors:
        return None
    intercept, low, high = _vector(file, f"{name}.range", 3, finite=False).tolist()
    if not np.isfinite(intercept) or not low < high:
        raise _damaged(file, f"{name}.range {intercept:g}, {low:g}, {high:g}")
    return LinearModel(_vector(file, f"{name}.weights", count), intercept, low, high)


def _vector(file: PriorFile, name: str, count: int, *, finite: bool = True) -> Floats:
    tensor = file.tensors.get(name)
    if tensor is None or tensor.shape != (count,) or not tensor.is_floating_point():
        shape = "missing" if tensor is None else f"{tensor.dtype} {tuple(tensor.shape)}"
        raise _damaged(file, f"{name} {shape}, needed floats ({count},)")
    values: Floats = tensor.double().numpy()
    if finite and not np.isfinite(values).all():
        raise _damaged(file, f"{name} is not finite")
    return values


def _tensor(values: Floats) -> Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


def _damaged(file: PriorFile, closest: str) -> PriorError:
    return PriorError(
        f"the age and sex predictor {file.sha256[:12]} is damaged",
        closest=closest,
        remedy="make it again with 'reid-audit prior demographics', or leave --demographics out",
    )
