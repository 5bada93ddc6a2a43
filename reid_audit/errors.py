"""What can go wrong before a verdict exists. Every error is a refusal in three lines."""

from __future__ import annotations


class AuditError(Exception):
    """Base of every expected failure: what happened, what was closest, what to do.

    ``exit_code`` is 3 (not audited) unless a subclass says otherwise; it is never 0, 1 or 4,
    because those are verdicts.
    """

    exit_code: int = 3
    headline: str = "not audited"

    def __init__(self, what: str, *, closest: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.closest = closest
        self.remedy = remedy

    def lines(self) -> tuple[str, str, str]:
        """The refusal as three single lines (control characters and newlines flattened)."""
        return (
            one_line(f"{self.headline}: {self.what}"),
            one_line(f"closest: {self.closest}"),
            one_line(f"help: {self.remedy}"),
        )


class CheckpointError(AuditError):
    """The file cannot be read as a checkpoint."""


class UnsafeCheckpointError(AuditError):
    """Reading the file would need unpickling of code."""

    exit_code = 5
    headline = "refused"


class ArchitectureError(AuditError):
    """No known architecture explains the state_dict."""


class CohortError(AuditError):
    """Images or their manifest cannot be used."""


class PriorError(AuditError):
    """A prior file or the images to fit one cannot be used."""


class MitigationError(AuditError):
    """A mitigation does not fit the network or its films."""


class RunStateError(AuditError):
    """A run directory is missing, damaged, or belongs to other inputs."""


class PolicyError(AuditError):
    """Policy, waivers or command-line options are wrong (click's own code)."""

    exit_code = 2
    headline = "usage"


def one_line(text: str) -> str:
    """``text`` on one line, without control characters: names of files may hold some."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
