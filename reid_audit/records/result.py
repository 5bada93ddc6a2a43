"""What an audit found: summaries, provenance and the verdict. No tensors, no pixels, no patient ids."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import FiniteFloat, NonNegativeInt, PositiveInt

from reid_audit.records.base import Record, Sha256
from reid_audit.records.controls import Comparison, Control
from reid_audit.records.metrics import Measurement, Metric, Reason, replaced
from reid_audit.records.policy import Budget, Policy, PreprocessFit, PreprocessSpec, Scaling, Waiver
from reid_audit.records.references import ReferenceSummary


class Outcome(StrEnum):
    """The five ways a check can end."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    NOT_AUDITED = "not_audited"
    REFUSED = "refused"


EXIT_CODES: dict[Outcome, int] = {
    Outcome.PASS: 0,
    Outcome.FAIL: 1,
    Outcome.NOT_AUDITED: 3,
    Outcome.INCONCLUSIVE: 4,
    Outcome.REFUSED: 5,
}


class StoppedBy(StrEnum):
    """Why an attack run ended."""

    COMPLETE = "complete"
    STEPS = "steps"
    SECONDS = "seconds"


class Spend(Record):
    """Seconds and steps used, and why the work stopped."""

    seconds: float
    steps: int
    stopped_by: StoppedBy


ReducedStage = Literal["films", "metric", "attack", "references", "membership", "batch_correction", "attack_power"]


class Reduced(Record):
    """Something that was made smaller, or left out, to fit the time budget."""

    stage: ReducedStage
    done: NonNegativeInt
    """How much of it was done; 0: left out."""
    of: PositiveInt
    unit: Literal["patients", "images", "steps", "passes", "runs", "models"]


class ToolInfo(Record):
    """What ran the audit."""

    version: str
    python: str
    torch: str
    device: str
    deterministic: bool = False


class CheckpointSummary(Record):
    """The file, without its tensors."""

    sha256: Sha256
    format: str
    """safetensors, torch-zip, torch-legacy"""
    bytes: int
    tensors: int
    parameters: int
    """Floating-point values in the model's own entries, buffers excluded."""
    dtypes: tuple[tuple[str, int], ...] = ()
    """(dtype, number of tensors), most frequent first."""
    wrapper: str = ""
    """Where the state_dict was found inside the file, for example ``state_dict`` or ``ema``; empty: at the top."""
    findings: tuple[str, ...] = ()
    """Things that leak beside the weights (optimiser state, EMA copies, names, paths), in fixed wordings."""
    others: tuple[str, ...] = ()
    """Where else in the file tensors are that are shaped like a network."""
    beside: tuple[str, ...] = ()
    """Floating-point tensors in none of them, by name; names that do not look like code are hidden."""
    apart: tuple[str, ...] = ()
    """Those of them with rows and columns, as weights have: they can belong to a network of the file."""
    pickled_code: tuple[str, ...] = ()
    """Classes and functions the pickle names beyond the published list; none was imported or called."""


class Candidate(Record):
    """One architecture and how well it explains the keys."""

    name: str
    library: str
    coverage: float
    """Share of the state_dict's keys explained with matching shapes, 0 to 1."""


class ArchMatch(Record):
    """Which network this is, with the evidence."""

    name: str
    library: str
    family: str
    coverage: float
    by: Literal["keys", "option", "factory"] = "keys"
    """How it was found: from keys and shapes, by --arch, by --arch-factory."""
    candidates: tuple[Candidate, ...] = ()
    """Runners-up, best first; those with equal coverage are the same by shape."""
    missing_keys: int = 0
    unexpected_keys: int = 0
    normalisation: tuple[tuple[str, int], ...] = ()
    """(layer type, count), for example (("BatchNorm2d", 20),)."""
    data_statistics: int = 0
    """Stored running statistics of the training data (2 x channels over all BatchNorm layers)."""
    untouched_statistics: int = 0
    """The same of layers that no training step has updated (means 0, variances 1): they say nothing of any image."""
    statistics: Literal["stored", "none", "missing"] = "none"
    """Whether running statistics are in the file; missing: its layers may be BatchNorm saved without them."""
    unused: tuple[str, ...] = ()
    """The file's keys of floating-point entries that the network does not run, as the file spells them."""
    doubts: tuple[str, ...] = ()
    """Why the network may not be the one that was trained, in fixed wordings: with any of them no PASS is possible."""
    head: Literal["softmax", "sigmoid", "regression", "segmentation", "features"] = "softmax"
    classes: int = 0
    channels: int = 3
    side: int = 224
    """Pixels of the square input the audit uses."""
    side_by: Literal["weights", "default", "policy", "statistics"] = "default"
    """Where the side comes from: position embeddings or head shapes, the library's default, or the policy."""
    evidence: tuple[str, ...] = ()
    """Differences from the library's network and what was assumed, in fixed wordings with the library's key names."""


class PriorCard(Record):
    """Which prior the attacker was given, and on what it was trained."""

    id: str
    kind: Literal["gaussian", "pggan"]
    sha256: Sha256
    side: int
    channels: int = 1
    declared_training_sets: tuple[str, ...] = ()
    """Names of data sets, empty where the file says nothing."""
    images: int = 0
    patients: int = 0
    licence: str = ""
    overlap: Literal["disjoint", "overlap", "unknown"] = "unknown"


class PredictorCard(Record):
    """What read age and sex from images, and on what it was fitted."""

    id: str
    source: Literal["shipped", "given", "fitted"] = "fitted"
    """Packaged, from a file given with --demographics, or fitted in the audit on its prior's films."""
    sha256: Sha256
    side: int
    """Pixels at which it reads; images of other sides are resized."""
    declared_training_sets: tuple[str, ...] = ()
    images: int = 0
    patients: int = 0
    licence: str = ""
    measured_on: str = "cross-validation"
    """Films the figures below are about."""
    age_mae: FiniteFloat | None = None
    """Mean absolute error in years."""
    age_mae_base: FiniteFloat | None = None
    """The same when guessing the median."""
    sex_auc: FiniteFloat | None = None
    sex_accuracy: FiniteFloat | None = None
    overlap: Literal["disjoint", "overlap", "unknown"] = "unknown"
    """Whether it has seen films or people of the cohorts."""


class GreyValues(Record):
    """How stored values became 0 to 1 in films of one kind."""

    kind: Literal["8-bit", "integer", "float"]
    bits: int
    """Bits stored for one value."""
    scaling: Scaling | None
    """What was rendered; None: arrays of floats as the network saw them, mapped back by mean and std."""
    declared: bool
    """False where the policy says nothing that is about these films, and the documented default was rendered."""
    films: int

    def in_words(self) -> str:
        """One line such as ``16 films of 12 bits: what 12 bits hold becomes 0 to 1``."""
        films = f"{self.films} {'film' if self.films == 1 else 'films'} of {self.bits} bits"
        if self.scaling is None:
            return f"{films}: mapped back from what the network saw, by mean and std"
        if self.kind == "float" and self.scaling.by == "bits":
            return f"{films}, floating point: taken as 0 to 1"
        low, high = self.scaling.limits or (0.0, 0.0)
        ways = {
            "bits": f"what {self.bits} bits hold becomes 0 to 1",
            "range": f"{low:g} to {high:g} becomes 0 to 1",
            "window": "the file's window becomes 0 to 1",
            "minmax": "each film's own range becomes 0 to 1",
            "percentiles": f"each film's percentiles {low:g} to {high:g} become 0 to 1",
        }
        return f"{films}: {ways[self.scaling.by]}"

    @property
    def guessed(self) -> bool:
        """Whether another reading would have been as likely: whole numbers of more than 8 bits, nothing declared."""
        return not self.declared and self.kind == "integer"


class LeftOut(Record):
    """Files or rows of a source that hold no film of the cohort."""

    why: str
    """One fixed phrase."""
    count: int


class CohortSummary(Record):
    """How many people and films were used on one side."""

    role: Literal["reference", "holdout"]
    patients: int
    images: int
    digest: Sha256
    strata: tuple[str, ...] = ()
    """Names of the columns the tests are stratified by."""
    known_patients: bool = True
    """False where nobody named the patients: each file counted as a person."""
    files: int = 0
    """Files the films were read from; 0 where they came from no file."""
    left_out: tuple[LeftOut, ...] = ()
    grey_values: tuple[GreyValues, ...] = ()
    """How stored values became 0 to 1, the most frequent way first."""


class AttackRun(Record):
    """One run of the attack or one control."""

    name: Literal["target", "negative_control", "attack_power", "scorer_sensitivity", "membership_control"]
    spend: Spend
    energy_start: FiniteFloat | None = None
    energy_end: FiniteFloat | None = None
    images: int = 0
    note: str = ""
    """One fixed phrase, no free text from inputs."""


GroupedBy = Literal["sex", "age", "label", "stratum", "films"]


class Subgroup(Record):
    """Training patients of one group, and how many of them are recognised at 1 % false alarms."""

    by: GroupedBy
    name: str
    """The word of the manifest, or the band."""
    patients: NonNegativeInt
    told: NonNegativeInt
    rate: FiniteFloat
    low: FiniteFloat
    """Lower end of the 95 % interval of ``rate``."""
    high: FiniteFloat
    difference: FiniteFloat
    """``rate`` less that of everybody else."""


class Histogram(Record):
    """A null distribution with the observed value, for the report's plots."""

    id: Metric
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    observed: float


class Curve(Record):
    """A curve on a fixed grid (never one point per patient)."""

    id: str
    x: tuple[float, ...]
    y: tuple[float, ...]


class Breach(Record):
    """A gate that failed the model, or would have without its waiver."""

    metric: Metric
    text: str


class Gap(Record):
    """Evidence that is missing for a PASS, and what would supply it."""

    metric: Metric | None = None
    text: str
    remedy: str


class Demotion(Record):
    """A number that was measured but did not count, because an assumption of its test is not met here."""

    metric: Metric
    reason: Reason


GateStatus = Literal["breach", "waived", "clear", "open", "indicator", "unmeasured", "off"]
ControlStatus = Literal["met", "missed", "unmeasured", "not_required"]


class GateDecision(Record):
    """What became of one gate of the policy. Every report shows these rows; nothing decides them again."""

    metric: Metric
    status: GateStatus
    """``open``: undecided. ``indicator``: measured, but an assumption is not met. ``unmeasured``: no number, or none to
    compare it with. ``off``: the policy sets no limit."""
    compared: FiniteFloat | None = None
    """The number that decided, less the control for an excess gate."""
    bound: Literal["value", "low", "high"] | None = None
    """Which number of the measurement that was."""
    limit: Literal["fail", "clear"] | None = None
    """Which threshold it was held against."""
    margin: FiniteFloat | None = None
    """Room left before that threshold; negative beyond it."""
    doubt: Reason | None = None
    """Why the number was measured but does not count."""
    waiver: Waiver | None = None
    """The waiver that took the gate out of the breaches, or would have, had it not expired."""
    lacking: bool = False
    """Whether a PASS lacks something here."""
    text: str = ""
    """The breach, or what is lacking, as one sentence; empty where there is nothing to say."""
    remedy: str = ""
    """What would supply what is lacking."""


class ControlDecision(Record):
    """What became of one control."""

    control: Control
    status: ControlStatus
    metric: Metric | None = None
    compared: FiniteFloat | None = None
    bound: Literal["value", "low"] | None = None
    limit: FiniteFloat | None = None
    comparison: Comparison | None = None
    reason: Reason | None = None
    """Why there is no number."""
    lacking: bool = False
    """Whether a PASS lacks it."""
    text: str = ""
    remedy: str = ""


class Verdict(Record):
    """The answer, with what led to it."""

    outcome: Outcome
    reason: str
    """One sentence."""
    gates: tuple[GateDecision, ...] = ()
    """One row for each gate of the policy, in its order."""
    controls: tuple[ControlDecision, ...] = ()
    """One row for each control, required or not."""
    breaches: tuple[Breach, ...] = ()
    gaps: tuple[Gap, ...] = ()
    waived: tuple[Breach, ...] = ()
    warnings: tuple[str, ...] = ()
    demoted: tuple[Demotion, ...] = ()
    screening: bool = False

    @property
    def exit_code(self) -> int:
        """The process exit code: a total function of the outcome."""
        return EXIT_CODES[self.outcome]


class NetworkRecord(Record):
    """One network of the audited file, or what is shaped like one and could not be audited."""

    name: str
    """Where in the file it is, in words that can be shown; empty: at the top."""
    copies: tuple[tuple[str, str], ...] = ()
    """(where else in the file the same weights are, how they are the same)"""
    beside: tuple[str, ...] = ()
    """Names of tensors beside it that it does not run."""
    tensors: int = 0
    parameters: int = 0
    """Floating-point values of its own entries, buffers excluded."""
    why: str = ""
    """Why it was not audited; empty where it was."""
    remedy: str = ""
    verdict: Verdict | None = None
    """On this network alone; None where it was not audited."""
    spend: Spend | None = None
    audited: AuditResult | None = None
    """Everything else the audit said of it; None where it was not audited, and for the one the file's result shows."""
    shown: bool = False
    """Whether the result that holds this record is about this network."""

    @property
    def place(self) -> str:
        """Where in the file it is, as sentences name it."""
        return self.name or "the top of the file"


class AuditResult(Record):
    """Everything a report may be made from."""

    tool: ToolInfo
    started: datetime
    method: str
    checkpoint: CheckpointSummary
    architecture: ArchMatch
    preprocess: PreprocessSpec
    preprocess_by: Literal["policy", "statistics", "answers", "default"] = "default"
    preprocess_fit: PreprocessFit | None = None
    """What the network says of its preprocessing, asked with films of both sides pooled."""
    preprocess_fitting_training_films: PreprocessSpec | None = None
    """The same asked with the training films alone, for the control; the audit itself does not use it."""
    prior: PriorCard
    predictor: PredictorCard | None = None
    """What read age and sex; None where nothing did."""
    references: ReferenceSummary | None = None
    """The reference models that membership was scored against; None: none."""
    cohorts: tuple[CohortSummary, ...] = ()
    attack_runs: tuple[AttackRun, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    repeats: tuple[tuple[Measurement, ...], ...] = ()
    """What the attack's other seeds gave instead, one tuple a seed."""
    histograms: tuple[Histogram, ...] = ()
    curves: tuple[Curve, ...] = ()
    subgroups: tuple[Subgroup, ...] = ()
    """How the recognised patients are spread over groups."""
    policy: Policy
    policy_sha256: Sha256
    waivers: tuple[Waiver, ...] = ()
    budget: Budget
    spend: Spend
    reduced: tuple[Reduced, ...] = ()
    """What the time budget made smaller."""
    seed: int
    options: tuple[tuple[str, str], ...] = ()
    """(flag, value) of the command as it was given, defaults left out; paths and names of columns in full."""
    digests: tuple[tuple[str, str], ...] = ()
    """(name, SHA-256), for example ("reconstructions", "...")."""
    verdict: Verdict
    """Of the file; where it holds one network, of that."""
    networks: tuple[NetworkRecord, ...] = ()
    """Every network of the file, where there are several, or one with copies; else empty."""

    def by_seed(self) -> tuple[tuple[Measurement, ...], ...]:
        """All measurements as each attack seed has them, the first seed first."""
        return (self.measurements, *(replaced(self.measurements, other) for other in self.repeats))


NetworkRecord.model_rebuild()
