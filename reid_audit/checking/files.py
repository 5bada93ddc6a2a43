"""The model, its base and an encoder as they were named, as files on this machine for the time of a command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from reid_audit.checking.options import CheckOptions
from reid_audit.origins import Fetched, fetched
from reid_audit.records import Policy
from reid_audit.report.command import ORIGIN


@dataclass(frozen=True, slots=True)
class Files:
    """What is read of an audit's networks."""

    model: Fetched
    base: Path | None = None
    encoder: Path | None = None

    def origin(self) -> tuple[tuple[str, str], ...]:
        """The address of the model with its revision, as ``AuditRequest.options`` keeps it; none for a file."""
        return ((ORIGIN, self.model.uri),) if self.model.uri else ()

    def notes(self) -> Iterator[str]:
        """What a person should know of them before the audit."""
        if self.model.uri:
            yield f"taken from {self.model.uri}"
        declared = self.model.declared
        if declared is not None and declared.phrases():
            yield f"the bundle declares: {', '.join(declared.phrases())}"


@contextmanager
def at_hand(options: CheckOptions) -> Iterator[Files]:
    """Fetch what is not on this machine. Raises PolicyError and CheckpointError."""
    with ExitStack() as stack:
        model = stack.enter_context(fetched(options.checkpoint))
        base, encoder = (
            None if given is None else stack.enter_context(fetched(given)).file
            for given in (options.base, options.encoder)
        )
        yield Files(model, base, encoder)


def with_declared_side(options: CheckOptions, policy: Policy, files: Files) -> CheckOptions:
    """``options`` with the side that a bundle declares, where neither command nor policy says one."""
    declared = files.model.declared
    if declared is None or declared.side is None or options.side or policy.preprocess.declared is not None:
        return options
    return options.model_copy(update={"side": declared.side})
