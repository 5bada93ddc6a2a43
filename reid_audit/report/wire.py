"""The versioned public document. Only this type reaches a renderer, and no field of it can hold a patient.

Schema evolution: within ``reid-audit/report/2`` fields may be added with a default, and enumerations may gain words;
none is removed, renamed or given another meaning. Readers ignore fields they do not know. Anything else is ``/3``.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    NonNegativeInt,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from reid_audit.records import (
    EXIT_CODES,
    Comparison,
    Control,
    ControlStatus,
    Direction,
    Fraction,
    GateStatus,
    GroupedBy,
    Metric,
    Outcome,
    Reason,
    ReducedStage,
    Sha256,
    StoppedBy,
    TaughtBy,
)

SCHEMA: Literal["reid-audit/report/2"] = "reid-audit/report/2"
SCHEMA_1 = "reid-audit/report/1"
"""The version before, whose documents are still read (json.py)."""
MAX_POINTS = 101
"""No list of numbers in a report is longer: too short for pixels, latents or one score per patient of a cohort."""

Label = Annotated[str, StringConstraints(max_length=120, pattern=r"^[^\x00-\x1f\x7f]*$")]
Table = Annotated[str, StringConstraints(max_length=400, pattern=r'^[\w\[\]{}=",.\-+% \n]*$')]
"""A ``[preprocess]`` table of numbers and the policy's own words."""
Sentence = Annotated[str, StringConstraints(max_length=400, pattern=r"^[^\x00-\x1f\x7f]*$")]
Points = Annotated[tuple[FiniteFloat, ...], Field(max_length=MAX_POINTS)]


def _pairs(value: Any) -> Any:
    return tuple(value.items()) if isinstance(value, dict) else value


Tally = Annotated[
    tuple[tuple[Label, NonNegativeInt], ...],
    BeforeValidator(_pairs),
    PlainSerializer(lambda pairs: dict(pairs), return_type=dict[str, int]),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": "integer", "minimum": 0}}),
]
"""(name, count) pairs; a JSON object in the document."""

Digests = Annotated[
    tuple[tuple[Label, Sha256], ...],
    BeforeValidator(_pairs),
    PlainSerializer(lambda pairs: dict(pairs), return_type=dict[str, str]),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": "string", "pattern": "^[0-9a-f]{64}$"}}),
]
"""(name, SHA-256) pairs; a JSON object in the document."""


class Wire(BaseModel):
    """Frozen; fields a newer version added are dropped on reading."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class PublicTool(Wire):
    """What ran the audit."""

    version: Label
    python: Label
    torch: Label
    device: Label
    deterministic: bool = False


class PublicCheckpoint(Wire):
    """The audited file; its name stays private."""

    sha256: Sha256
    format: Label
    bytes: NonNegativeInt
    tensors: NonNegativeInt
    parameters: NonNegativeInt
    dtypes: Tally = ()
    wrapper: Label = ""
    findings: tuple[Sentence, ...] = ()
    beside: tuple[Label, ...] = ()
    """Tensors of the file that are in no network, by name, the first of them; names that are not code's are hidden."""
    beside_count: NonNegativeInt = 0


class PublicCandidate(Wire):
    """A runner-up architecture."""

    name: Label
    library: Label
    key_coverage: Fraction


class PublicArchitecture(Wire):
    """Which network this is, with the evidence."""

    name: Label
    library: Label
    family: Label
    key_coverage: Fraction
    found_by: Literal["keys", "option", "factory"]
    candidates: tuple[PublicCandidate, ...] = ()
    missing_keys: NonNegativeInt = 0
    unexpected_keys: NonNegativeInt = 0
    normalisation: Tally = ()
    data_statistics: NonNegativeInt = 0
    head: Label
    classes: NonNegativeInt
    input: tuple[NonNegativeInt, NonNegativeInt, NonNegativeInt]
    """Channels, height, width."""
    left_out: tuple[Label, ...] = ()
    """Tensors of its state_dict that it does not run, by name, the first of them."""
    left_out_count: NonNegativeInt = 0
    untouched_statistics: NonNegativeInt = 0
    """Running statistics that no training step has updated: not counted in ``data_statistics``."""
    input_by: Literal["weights", "default", "policy", "statistics"]


class PublicPreprocessFit(Wire):
    """A way from films to network input that was tried, and how far the network's first statistics are from it."""

    toml: Table
    """The ``[preprocess]`` table that declares it."""
    misfit: FiniteFloat
    augmentation: Label


class PublicPreprocess(Wire):
    """How films were turned into network input."""

    decided_by: Literal["policy", "statistics", "answers", "default"]
    resize_to: NonNegativeInt | None = None
    fitted_by: Literal["statistics", "answers"] | None = None
    """What was asked for the best preprocessing; None where nothing could be."""
    fitted_on: NonNegativeInt = 0
    """Films of both sides, pooled, that it was asked with."""
    best: Table = ""
    """The ``[preprocess]`` table that fits best."""
    tried: Annotated[tuple[PublicPreprocessFit, ...], Field(max_length=8)] = ()
    resize: Label
    crop: Label
    interpolation: Label
    mean: Annotated[tuple[FiniteFloat, ...], Field(max_length=4)]
    std: Annotated[tuple[FiniteFloat, ...], Field(max_length=4)]
    invert: bool
    scaling: Label | None = None
    """How stored grey values became 0 to 1, as the policy writes it; None: not declared."""


class PublicPrior(Wire):
    """What the attacker was given to draw images from."""

    id: Label
    kind: Literal["gaussian", "pggan"]
    sha256: Sha256
    side: NonNegativeInt
    channels: NonNegativeInt
    declared_training_sets: tuple[Label, ...] = ()
    images: NonNegativeInt = 0
    patients: NonNegativeInt = 0
    licence: Label = ""
    overlap: Literal["disjoint", "overlap", "unknown"]


class PublicPredictor(Wire):
    """What read age and sex, and how well it reads films of people it had not seen."""

    id: Label
    source: Literal["shipped", "given", "fitted"]
    sha256: Sha256
    side: NonNegativeInt
    declared_training_sets: tuple[Label, ...] = ()
    images: NonNegativeInt = 0
    patients: NonNegativeInt = 0
    licence: Label = ""
    measured_on: Label = ""
    age_mae: FiniteFloat | None = None
    age_mae_base: FiniteFloat | None = None
    sex_auc: FiniteFloat | None = None
    sex_accuracy: FiniteFloat | None = None
    overlap: Literal["disjoint", "overlap", "unknown"]


class PublicReferences(Wire):
    """The reference models that membership was scored against."""

    count: NonNegativeInt
    taught_by: TaughtBy
    given: bool = False
    """Whether they were there already, such as the folds of a cross-validation."""
    epochs: Annotated[tuple[NonNegativeInt, ...], Field(max_length=64)] = ()
    """How long each was trained; 0 for one kept from an earlier audit."""


class PublicCohort(Wire):
    """How many people stood on one side. Its digest stays private: it would confirm a guessed member."""

    role: Literal["reference", "holdout"]
    patients: NonNegativeInt
    images: NonNegativeInt
    strata: tuple[Label, ...] = ()
    known_patients: bool = True
    """False where nobody named the patients and each file counted as a person."""
    read_from: NonNegativeInt = 0
    """Number of files; 0 where the films came from none."""
    left_out: Tally = ()
    """Files or rows that hold no film of this side, by the reason."""
    grey_values: Annotated[tuple[Label, ...], Field(max_length=12)] = ()
    """How stored values became 0 to 1, one line for each kind of film."""


class PublicMeasured(Wire):
    """A number, its 95 % interval, the same number where nothing can have leaked, and its gate's fail threshold."""

    status: Literal["measured"] = "measured"
    metric: Metric
    value: FiniteFloat
    low: FiniteFloat | None = None
    high: FiniteFloat | None = None
    control: FiniteFloat | None = None
    threshold: FiniteFloat | None = None
    n: NonNegativeInt | None = None
    p: FiniteFloat | None = None
    """One-sided permutation p of the excess over the control, where the metric has one."""
    indicator: bool = False
    doubt: Reason | None = None
    """Why an indicator must not decide, where the judge found an assumption broken."""


class PublicUnmeasured(Wire):
    """A missing number: an enumerated reason with its fixed text."""

    status: Literal["unmeasured"] = "unmeasured"
    metric: Metric
    reason: Reason
    text: Sentence


PublicMeasurement = Annotated[PublicMeasured | PublicUnmeasured, Field(discriminator="status")]


class PublicNetwork(Wire):
    """One network of the file, where it holds several."""

    name: Label
    """Where in the file."""
    shown: bool
    """Whether this is the network that the rest of the report is about."""
    architecture: Label = ""
    """Empty: not known."""
    library: Label = ""
    tensors: NonNegativeInt = 0
    parameters: NonNegativeInt = 0
    copies: tuple[Sentence, ...] = ()
    """Where else in the file the same weights are."""
    beside: tuple[Label, ...] = ()
    """Tensors beside it that it does not run."""
    outcome: Outcome
    reason: Sentence
    breaches: tuple[Metric, ...] = ()
    gaps: tuple[Sentence, ...] = ()
    measurements: tuple[PublicMeasurement, ...] = ()
    """Empty for the one shown: they are the report's."""


class PublicWaiver(Wire):
    """Who answers for a breach, and until when; published as written."""

    reason: Sentence
    approved_by: Label
    expires: date


class PublicCorroboration(Wire):
    """A second metric that has to agree before a breach counts."""

    metric: Metric
    above: FiniteFloat


class GateRow(Wire):
    """One gate of the policy beside what was measured."""

    metric: Metric
    status: GateStatus
    direction: Direction
    """Which way the metric becomes riskier."""
    value: FiniteFloat | None = None
    low: FiniteFloat | None = None
    high: FiniteFloat | None = None
    control: FiniteFloat | None = None
    n: NonNegativeInt | None = None
    basis: Literal["value", "excess"] = "value"
    fail: FiniteFloat | None = None
    clear: FiniteFloat | None = None
    compared: FiniteFloat | None = None
    """The number that decided, less the control for an excess gate."""
    bound: Literal["value", "low", "high"] | None = None
    """Which number of the measurement that was: a breach takes the confidence bound that favours the model, a
    clearance the other."""
    limit: Literal["fail", "clear"] | None = None
    """Which threshold it was held against."""
    margin: FiniteFloat | None = None
    """Room left before that threshold; negative beyond it."""
    corroborated_by: tuple[PublicCorroboration, ...] = ()
    waiver: PublicWaiver | None = None
    doubt: Reason | None = None
    """Why the number was measured but does not count; None where it counts, or nothing was measured."""
    lacking: bool = False
    """Whether a PASS lacks something here."""
    remedy: Sentence = ""
    """What would supply it."""

    @property
    def limits(self) -> tuple[float | None, ...]:
        """What ``value``, ``low`` and ``high`` are read against; nothing where the control is subtracted first."""
        return (self.fail, self.clear) if self.basis == "value" else ()


class ControlRow(Wire):
    """One control a PASS may need."""

    name: Control
    status: ControlStatus
    metric: Metric | None = None
    required: FiniteFloat | None = None
    direction: Comparison | None = None
    value: FiniteFloat | None = None
    low: FiniteFloat | None = None
    high: FiniteFloat | None = None
    n: NonNegativeInt | None = None
    reason: Reason | None = None
    lacking: bool = False
    """Whether a PASS lacks it."""
    remedy: Sentence = ""


class Finding(Wire):
    """One sentence behind the verdict; gaps say what would close them."""

    kind: Literal["breach", "waived", "gap", "warning"]
    metric: Metric | None = None
    text: Sentence
    """The judge's own, with ids."""
    remedy: Sentence = ""
    label: Label = ""
    """What it is about, for reading; this and what follows are the words that every format shows."""
    sentence: Sentence = ""
    cause: Sentence = ""
    """Why it is undecided, not measured, or does not count."""
    advice: Sentence = ""
    """The remedy as a sentence."""
    page: Label = ""
    """Where it is explained, from the root of the repository of reid-audit."""


class PublicVerdict(Wire):
    """The answer."""

    outcome: Outcome
    exit_code: int
    reason: Sentence
    breaches: tuple[Metric, ...] = ()
    gaps: tuple[Sentence, ...] = ()
    waived: tuple[Metric, ...] = ()
    screening: bool = False

    @model_validator(mode="after")
    def _code_follows_outcome(self) -> PublicVerdict:
        if self.exit_code != EXIT_CODES[self.outcome]:
            raise ValueError(f"exit code {self.exit_code} does not belong to {self.outcome}")
        return self


class PublicHistogram(Wire):
    """A null distribution and the observed value. Counts are of null draws, never of patients."""

    metric: Metric
    edges: Points
    counts: Annotated[tuple[NonNegativeInt, ...], Field(max_length=MAX_POINTS)]
    observed: FiniteFloat

    @model_validator(mode="after")
    def _edges_enclose_counts(self) -> PublicHistogram:
        if len(self.edges) != len(self.counts) + 1:
            raise ValueError("a histogram needs one edge more than counts")
        return self


class PublicSubgroup(Wire):
    """Training patients of one group, 10 of them or more, and how many are recognised at 1 % false alarms."""

    by: GroupedBy
    name: Label
    patients: Annotated[int, Field(ge=10)]
    rate: FiniteFloat
    low: FiniteFloat
    high: FiniteFloat
    difference: FiniteFloat
    """``rate`` less that of everybody else."""


class PublicCurve(Wire):
    """A curve resampled to a fixed grid, so that no point belongs to one patient."""

    id: Literal["membership_roc"]
    x: Points
    y: Points

    @model_validator(mode="after")
    def _same_length(self) -> PublicCurve:
        if len(self.x) != len(self.y):
            raise ValueError("x and y differ in length")
        return self


class PublicAttackRun(Wire):
    """One run of the attack or one control."""

    name: Literal["target", "negative_control", "attack_power", "scorer_sensitivity", "membership_control"]
    seconds: FiniteFloat
    steps: NonNegativeInt
    stopped_by: StoppedBy
    energy_start: FiniteFloat | None = None
    energy_end: FiniteFloat | None = None
    images: NonNegativeInt = 0
    note: Label = ""


class PublicReduced(Wire):
    """Something that was made smaller, or left out (``done`` 0), to fit the time budget."""

    stage: ReducedStage
    done: NonNegativeInt
    of: NonNegativeInt
    unit: Literal["patients", "images", "steps", "passes", "runs", "models"]


class PublicBudget(Wire):
    """Ceilings and what was used of them."""

    seconds: FiniteFloat | None = None
    spent_seconds: FiniteFloat
    steps: NonNegativeInt
    spent_steps: NonNegativeInt
    stopped_by: StoppedBy
    particles: Annotated[tuple[NonNegativeInt, ...], Field(max_length=16)] = ()
    reduced: Annotated[tuple[PublicReduced, ...], Field(max_length=16)] = ()


class PublicOption(Wire):
    """An option of the command that was not at its default; "" for a flag without a value."""

    flag: Label
    value: Label = ""


class PublicDeclared(Wire):
    """What the policy's ``[report]`` table says for the reader; nothing of it was checked."""

    model: Label = ""
    weights: Label = ""
    controller: Label = ""
    purpose: Label = ""
    training_data: Label = ""
    holdout_data: Label = ""
    auditor: Label = ""
    sign_off: Annotated[tuple[Label, ...], Field(max_length=6)] = ()


class Seeds(Wire):
    """Everything random follows from these."""

    master: int


class PublicReport(Wire):
    """``report.json``. May be attached to a public model card."""

    schema_id: Literal["reid-audit/report/2"] = Field(default=SCHEMA, alias="schema")
    started: datetime
    method: Label
    evidence: Literal["calibrated", "checkpoint"]
    verdict: PublicVerdict
    findings: tuple[Finding, ...] = ()
    gates: tuple[GateRow, ...]
    controls: tuple[ControlRow, ...] = ()
    measurements: tuple[PublicMeasurement, ...] = ()
    histograms: Annotated[tuple[PublicHistogram, ...], Field(max_length=16)] = ()
    curves: Annotated[tuple[PublicCurve, ...], Field(max_length=2)] = ()
    subgroups: Annotated[tuple[PublicSubgroup, ...], Field(max_length=64)] = ()
    cohorts: Annotated[tuple[PublicCohort, ...], Field(max_length=2)] = ()
    attack_runs: Annotated[tuple[PublicAttackRun, ...], Field(max_length=32)] = ()
    budget: PublicBudget
    tool: PublicTool
    checkpoint: PublicCheckpoint
    architecture: PublicArchitecture
    preprocess: PublicPreprocess
    prior: PublicPrior
    predictor: PublicPredictor | None = None
    references: PublicReferences | None = None
    seeds: Seeds
    options: Annotated[tuple[PublicOption, ...], Field(max_length=64)] = ()
    false_discovery_rate: Fraction
    policy_sha256: Sha256
    digests: Digests = ()
    networks: tuple[PublicNetwork, ...] = ()
    """All networks of the file, where there are several, or one with copies."""
    declared: PublicDeclared = PublicDeclared()

    def measured(self, metric: Metric) -> PublicMeasured | None:
        """The measurement of ``metric``, None where it is missing."""
        return next((m for m in self.measurements if isinstance(m, PublicMeasured) and m.metric is metric), None)
