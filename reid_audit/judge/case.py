"""What is judged: the measurements, and what else a verdict depends on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from reid_audit.records import (
    METRICS,
    ArchMatch,
    AttackRun,
    CheckpointSummary,
    CohortSummary,
    Controls,
    Demotion,
    Family,
    Measured,
    Measurement,
    Metric,
    Overlap,
    Reason,
    ReferenceSummary,
    StoppedBy,
    find,
)


@dataclass(frozen=True, slots=True)
class Case:
    """The evidence of one attack seed."""

    measurements: tuple[Measurement, ...]
    checkpoint_sha256: str
    """SHA-256 of the checkpoint, to which waivers are bound."""
    prior_overlap: Overlap
    """Whether the prior has seen films of the cohorts."""
    budget_complete: bool
    """Whether every attack run came to its end."""
    has_reference: bool
    has_holdout: bool
    network_doubts: tuple[str, ...] = ()
    """Why the network that was audited may not be the one that was trained."""
    references: int = 0
    """Reference models that membership was scored against."""
    stores_statistics: bool = True
    """Whether the network stores statistics of its training films; without, no reconstruction is known to work."""
    head: str = "softmax"
    """How the network's outputs are read, as in ``ArchMatch.head``."""
    outputs: int = 0

    @classmethod
    def of(
        cls,
        measurements: Sequence[Measurement],
        checkpoint: CheckpointSummary,
        network: ArchMatch,
        prior_overlap: Overlap,
        cohorts: Iterable[CohortSummary],
        runs: Iterable[AttackRun],
        references: ReferenceSummary | None = None,
    ) -> Case:
        """The case an audit makes, running or finished."""
        roles = {cohort.role for cohort in cohorts}
        return cls(
            measurements=tuple(measurements),
            checkpoint_sha256=checkpoint.sha256,
            prior_overlap=prior_overlap,
            budget_complete=all(run.spend.stopped_by is StoppedBy.COMPLETE for run in runs),
            has_reference="reference" in roles,
            has_holdout="holdout" in roles,
            network_doubts=network.doubts,
            references=0 if references is None else references.count,
            stores_statistics=network.data_statistics > 0,
            head=network.head,
            outputs=network.classes,
        )

    def find(self, metric: Metric) -> Measurement:
        """The measurement of ``metric``."""
        return find(self.measurements, metric)

    def of_seed(self, measurements: tuple[Measurement, ...]) -> Case:
        """The same case with what another attack seed measured."""
        return replace(self, measurements=measurements)

    def demotions(self, controls: Controls) -> tuple[Demotion, ...]:
        """Measurements whose comparison is not sound here, and why.

        Where training and hold-out films differ in kind, or nobody knows whether they do, nothing that compares them
        counts. Where the prior has seen the films, or the attack without the weights is flagged too, a match need not
        come from the weights.
        """
        kinds, links = self._doubt_of_kinds(controls), self._doubt_of_links(controls)
        reason, concerned = (links, _reconstructs) if kinds is None else (kinds, compares_films)
        if reason is None:
            return ()
        return tuple(
            Demotion(metric=m.metric, reason=reason)
            for m in self.measurements
            if isinstance(m, Measured) and concerned(m.metric)
        )

    def _doubt_of_kinds(self, controls: Controls) -> Reason | None:
        """Why a difference between the cohorts may be one of kind. Without one of them nothing compares them."""
        found = self.find(Metric.EXCHANGEABILITY_P)
        if isinstance(found, Measured):
            return Reason.NOT_EXCHANGEABLE if found.value <= controls.exchangeability_p else None
        return Reason.EXCHANGEABILITY_UNKNOWN if self.has_reference and self.has_holdout else None

    def _doubt_of_links(self, controls: Controls) -> Reason | None:
        """Why a match may come from elsewhere than the weights."""
        if self.prior_overlap == "overlap":
            return Reason.PRIOR_OVERLAP
        blank = self.find(Metric.NEGATIVE_CONTROL_P)
        flagged = isinstance(blank, Measured) and blank.value <= controls.negative_control_p
        return Reason.CONTROL_FLAGGED if flagged else None


def compares_films(metric: Metric) -> bool:
    """Whether ``metric`` compares films of both cohorts."""
    return _reconstructs(metric) or METRICS[metric].family is Family.MEMBERSHIP


def _reconstructs(metric: Metric) -> bool:
    return METRICS[metric].compares_reconstructions
