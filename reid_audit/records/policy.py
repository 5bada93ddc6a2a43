"""What a hospital decides before the audit: thresholds, controls, preprocessing, budget, waivers."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, FiniteFloat, PositiveFloat, PositiveInt, StringConstraints, model_validator

from reid_audit.records.base import Fraction, Record, Sha256
from reid_audit.records.controls import CONTROLS, Controls
from reid_audit.records.gates import Gate
from reid_audit.records.metrics import Metric
from reid_audit.records.references import References
from reid_audit.records.table import default_gates


class Scaling(Record):
    """How stored grey values become numbers in [0, 1]: one of the words, or ``{ range = [low, high] }``."""

    by: Literal["bits", "range", "window", "minmax", "percentiles"]
    """``bits``: what the film's stored bits can hold becomes 0 to 1 (value / 255 for 8 bits). ``range``: low becomes 0,
    high 1. ``window``: the file's own window (VOI LUT). ``minmax``, ``percentiles``: of each film for itself."""
    limits: tuple[FiniteFloat, FiniteFloat] | None = None
    """The two ends of ``range`` (in the file's values after rescale slope and intercept) or ``percentiles``."""

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, given: object) -> object:
        """``"bits"`` and ``{ range = [0, 4095] }`` as they are written in a policy."""
        if isinstance(given, str):
            return {"by": given}
        if isinstance(given, dict) and len(given) == 1 and set(given) <= {"range", "percentiles"}:
            ((by, limits),) = given.items()
            return {"by": by, "limits": limits}
        return given

    @model_validator(mode="after")
    def _limits_fit(self) -> Scaling:
        if (self.limits is not None) != (self.by in ("range", "percentiles")):
            raise ValueError("write { range = [low, high] } or { percentiles = [low, high] }, or a word without limits")
        if self.limits is not None and self.limits[0] >= self.limits[1]:
            raise ValueError("the first limit must be below the second")
        if self.by == "percentiles" and not (min(self.limits or (0,)) >= 0 and max(self.limits or (100,)) <= 100):
            raise ValueError("percentiles lie between 0 and 100")
        return self

    def toml(self) -> str:
        """The value of ``scaling`` as it is written in a policy."""
        if self.limits is None:
            return f'"{self.by}"'
        return f"{{ {self.by} = [{self.limits[0]:g}, {self.limits[1]:g}] }}"


class PreprocessSpec(Record):
    """How films became network input in training. Images are in [0, 1] before ``mean`` and ``std``."""

    side: PositiveInt | None = None
    """Pixels of the square network input; None: inferred."""
    resize: Literal["squash", "shorter", "none"] = "squash"
    crop: Literal["center", "none"] = "none"
    resize_to: PositiveInt | None = None
    """Pixels that ``resize`` resizes to before the crop, such as 256 before a crop of 224; None: ``side``."""
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos", "box"] = "bilinear"
    mean: tuple[float, ...] = (0.0,)
    """Subtracted after scaling to [0, 1]; one value, or one per channel."""
    std: tuple[PositiveFloat, ...] = (1.0,)
    invert: bool = False
    """True where the network saw 1 - x (MONOCHROME1)."""
    scaling: Scaling | None = None
    """How stored grey values become [0, 1]; None: not declared, and films are rendered by their stored bits."""

    def toml(self) -> str:
        """The ``[preprocess]`` table that declares exactly this."""
        lines = ["[preprocess]", *([] if self.side is None else [f"side = {self.side}"])]
        lines += [f'resize = "{self.resize}"', f'crop = "{self.crop}"']
        lines += [] if self.resize_to is None else [f"resize_to = {self.resize_to}"]
        lines += [f'interpolation = "{self.interpolation}"']
        lines += [f"{name} = [{', '.join(f'{v:.6g}' for v in getattr(self, name))}]" for name in ("mean", "std")]
        lines += [f"invert = {'true' if self.invert else 'false'}"]
        lines += [] if self.scaling is None else [f"scaling = {self.scaling.toml()}"]
        return "\n".join(lines)


class PreprocessCandidate(Record):
    """A way from films to network input that was tried."""

    spec: PreprocessSpec
    misfit: FiniteFloat
    """By statistics: mean square deviation of the first statistics layer, in standard deviations. By answers: mean
    error under the training labels."""
    augmentation: str = "none"
    """What the films were thought to have gone through in training."""


class PreprocessFit(Record):
    """What a network says of the preprocessing it was trained with, asked with films of both cohorts pooled."""

    best: PreprocessSpec
    by: Literal["statistics", "answers"]
    augmentation: str = "none"
    films: int
    """Films it was fitted on."""
    complete: bool = True
    """Whether there was time to try everything."""
    candidates: tuple[PreprocessCandidate, ...] = ()
    """The best of those tried, best first."""


class PreprocessPolicy(Record):
    """The ``[preprocess]`` table. What it leaves open is inferred from the network."""

    declared: PreprocessSpec | None = None
    values: Literal["declared", "inferred"] = "declared"
    """``inferred``: side, resize and crop are declared, but mean, std and invert are read from the first layers."""


class Budget(Record):
    """Ceilings of a whole command. ``seconds=None`` leaves only step counts, which makes a run reproducible."""

    seconds: PositiveFloat | None = None
    steps: PositiveInt = 500
    """Optimiser steps of one attack hypothesis."""
    particles: tuple[PositiveInt, ...] = (16, 32)
    """Batch-size hypotheses: how many training images the statistics stand for (too many hurts less than too few)."""


Declared = Annotated[str, StringConstraints(max_length=120, pattern=r"^[^\x00-\x1f\x7f]*$")]
"""One line of a reader's own words."""


class ReportFields(Record):
    """The ``[report]`` table: what an audit cannot know and the reader of its report needs. Published as written."""

    model: Declared = ""
    """Name of the model."""
    weights: Declared = ""
    """Name of the file with the weights, or its path in the repository that publishes it."""
    controller: Declared = ""
    """The organisation that answers for the release."""
    purpose: Declared = ""
    """What the release is for, and who receives the weights."""
    training_data: Declared = ""
    """Name of the data set that the model was trained on."""
    holdout_data: Declared = ""
    """Name of the data set that the hold-out films are from."""
    auditor: Declared = ""
    """Who ran the audit."""
    sign_off: Annotated[tuple[Declared, ...], Field(max_length=6)] = ("Data protection officer",)
    """Roles that sign the data-protection edition, beside the auditor."""


class EncoderPolicy(Record):
    """The ``[encoder]`` table: a network that tells people apart by their films, as a second scorer of linkage."""

    checkpoint: Path | None = None
    """Its weights; None: no encoder."""
    side: PositiveInt | None = None
    """Pixels of its square input; None: as the weights or the architecture say."""
    values: Literal["infer", "unit", "half", "imagenet", "xrv"] = "infer"
    """Grey values it was trained on; ``infer``: what its first statistics say."""


class Waiver(Record):
    """A breach somebody answers for, bound to one checkpoint and to a date."""

    gate: Metric
    checkpoint_sha256: Sha256
    reason: str = Field(min_length=10)
    approved_by: str = Field(min_length=2)
    expires: date


class Policy(Record):
    """``reid-audit.toml``. An empty policy cannot be built: without gates nothing could ever fail."""

    version: Literal[1] = 1
    evidence: Literal["calibrated", "checkpoint"] = "calibrated"
    """``checkpoint`` accepts a screening without images; the report is then headed "screening"."""
    gates: tuple[Gate, ...] = Field(default_factory=default_gates, min_length=1)
    controls: Controls = Controls()
    preprocess: PreprocessPolicy = PreprocessPolicy()
    head: Literal["softmax", "sigmoid", "regression"] | None = None
    """What the outputs are: exclusive classes, independent answers, numbers. Weights do not tell; None: a guess."""
    budget: Budget = Budget()
    report: ReportFields = ReportFields()
    references: References = References()
    encoder: EncoderPolicy = EncoderPolicy()
    level: Fraction = 0.10
    """False-discovery rate of ``reidentified_patients``."""
    repeats: PositiveInt = 1
    """Attack seeds; the linkage tests are repeated with each."""
    agreement: PositiveInt | None = None
    """How many of the repeats must share an outcome, or the verdict is INCONCLUSIVE; None: all."""
    pickled_code: Literal["refuse", "warn"] = "warn"
    """A pickle that names classes beyond the published list: ``warn`` reads its tensors, imports nothing and reports
    the names; ``refuse`` ends with exit 5. Names that run something are refused under either."""
    demographics: Literal["auto", "shipped", "off"] = "auto"
    """What reads age and sex: the prior's labelled films, or the shipped chest predictor beside the shipped chest
    prior (``auto``); the shipped one whatever the prior (``shipped``); nothing (``off``). A given file comes first."""

    @model_validator(mode="after")
    def _agreement_is_a_majority(self) -> Policy:
        if self.agreement is not None and not self.repeats < 2 * self.agreement <= 2 * self.repeats:
            raise ValueError("agreement must be more than half of repeats, and not more than all")
        return self

    @model_validator(mode="after")
    def _can_fail(self) -> Policy:
        if all(gate.fail is None for gate in self.gates):
            raise ValueError("no gate can fail: at least one needs a 'fail' threshold")
        ids = [gate.metric for gate in self.gates]
        if len(set(ids)) != len(ids):
            raise ValueError("two gates name the same metric")
        return self

    def gate(self, metric: Metric) -> Gate | None:
        """The gate on ``metric``, or None."""
        return next((gate for gate in self.gates if gate.metric is metric), None)

    def limits(self, metric: Metric) -> tuple[float, ...]:
        """Every number this policy holds a value of ``metric`` against, as a gate, a second metric or a control."""
        gate = self.gate(metric)
        asked = {entry.metric: self.controls.limit(entry.control) for entry in CONTROLS.values()}
        own = () if gate is None or gate.basis == "excess" else (gate.fail, gate.clear)
        partners = (c.above for g in self.gates for c in g.corroborated_by if c.metric is metric)
        return tuple(each for each in (*own, asked.get(metric), *partners) if each is not None)
