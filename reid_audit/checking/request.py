"""From the options of a check to what is asked of an audit: the file is fetched and screened before anything is
loaded that could run it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reid_audit.budget import Meter, start
from reid_audit.checking.caller import Caller
from reid_audit.checking.files import Files, at_hand, with_declared_side
from reid_audit.checking.options import CheckOptions
from reid_audit.checking.rules import READERS, Rules, override
from reid_audit.checking.sources import sources
from reid_audit.checkpoint import screen
from reid_audit.errors import one_line
from reid_audit.observer import stage
from reid_audit.policy import load_waivers

if TYPE_CHECKING:
    from reid_audit.audit import AuditRequest, Films


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """What a check is to do, once its files are on this machine and have passed."""

    options: CheckOptions
    request: AuditRequest
    films: Films
    sha256: str
    """Of the checkpoint."""
    caller: Caller

    def meter(self) -> Meter:
        """What is left of the budget of the whole check."""
        return start(self.request.policy.budget, began=self.caller.began)


@contextmanager
def asked(options: CheckOptions, rules: Rules, caller: Caller) -> Iterator[Asked]:
    """What ``options`` ask for; files that were fetched stay until the end. Raises AuditError."""
    with ExitStack() as stack:
        with stage(caller.observer, "fetching the checkpoint", brief=True):
            files = stack.enter_context(at_hand(options))
        for line in files.notes():
            caller.note(one_line(line))
        options = with_declared_side(options, rules.policy, files)
        with stage(caller.observer, "reading the checkpoint", brief=True):
            seen = screen(files.model.file, pickled_code=rules.policy.pickled_code)
        with stage(
            caller.observer, "loading libraries", brief=True
        ):  # torch among them: not before the file has passed
            caller.get_ready()
            request, films = request_of(options, rules, files)
        yield Asked(options, request, films, seen.sha256, caller)


def request_of(options: CheckOptions, rules: Rules, files: Files) -> tuple[AuditRequest, Films]:
    """Options and policy file as a request. Precedence: flag, environment, file, default."""
    from reid_audit.audit import AuditRequest

    waivers = load_waivers(options.waivers)
    films, prior_file = sources(options)
    read = options.demographics
    request = AuditRequest(
        checkpoint=files.model.file,
        policy=override(rules.policy, options),
        policy_sha256=rules.digest,
        waivers=waivers,
        method=options.method,
        seed=options.seed,
        device=options.device,
        deterministic=options.deterministic,
        architecture=options.arch,
        factory=options.arch_factory,
        prior=prior_file,
        prior_patients=options.prior_patients,
        predictor=None if read is None or read in READERS else Path(read),
        base=files.base,
        encoder=files.encoder,
        options=(*options.given(), *files.origin()),
    )
    return request, films
