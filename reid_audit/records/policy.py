"""What a hospital decides before the audit: thresholds, controls, budget, references, waivers."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, StringConstraints, model_validator

from reid_audit.records.base import Fraction, Record, Sha256
from reid_audit.records.controls import CONTROLS, Controls
from reid_audit.records.gates import Gate
from reid_audit.records.metrics import Metric
from reid_audit.records.preprocess import PreprocessPolicy
from reid_audit.records.references import References
from reid_audit.records.table import default_gates


class Budget(Record):
    """Ceilings of a whole command. ``seconds=None`` leaves only step counts, which makes a run reproducible."""

    seconds: PositiveFloat | None = None
    steps: PositiveInt = 500
    """Optimiser steps of one attack hypothesis."""
    particles: tuple[PositiveInt, ...] = Field(default=(16, 32), min_length=1)
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
