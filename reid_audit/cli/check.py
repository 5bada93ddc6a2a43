"""``reid-audit check``."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from reid_audit.checkpoint import screen
from reid_audit.console import ConsoleObserver, console_for, show_result
from reid_audit.policy import load_policy, load_waivers, policy_sha256
from reid_audit.records import Budget, Outcome, Policy, PreprocessPolicy, PreprocessSpec

if TYPE_CHECKING:
    from reid_audit.audit import Audited, AuditRequest, Films

FailOn = Literal["fail", "inconclusive", "never"]
PROFILES: dict[str, dict[str, Any]] = {
    "ci": {"steps": 300, "particles": (16,)},
    "standard": {"steps": 500, "particles": (16, 32)},
    "deep": {"steps": 1000, "particles": (16, 32, 64)},
}
PRIOR_FILES = (".safetensors", ".pt", ".pth", ".ckpt", ".bin", ".pkl", ".pickle")
"""Suffixes of a --prior that is a file of weights, not films. All but the first are refused by the prior's reader."""
READERS = ("auto", "shipped", "off")
"""Words of the policy's ``demographics``; anything else is a file."""
UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def duration(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    """Seconds of ``600``, ``600s``, ``10m`` or ``1h``."""
    if value is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", value.strip())
    if found is None or float(found[1]) <= 0:
        raise click.BadParameter(f"{value!r} is not a duration such as 600, 90s, 10m or 1h")
    return float(found[1]) * UNITS[found[2]]


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--policy", type=click.Path(path_type=Path), help="Policy file; default: reid-audit.toml here.")
@click.option("--waivers", type=click.Path(path_type=Path), help="Waiver file; default: reid-audit-waivers.toml here.")
@click.option("--reference", help="Training films: folder, CSV, NPZ; filter with ?column=value.")
@click.option("--holdout", help="Films of other patients from the same source.")
@click.option("--prior", help="Prior file, or public films to fit one on; default: the shipped chest prior.")
@click.option(
    "--prior-patients",
    type=click.Path(path_type=Path),
    help="Patient file of a prior of private films; default: the one beside the prior.",
)
@click.option(
    "--demographics",
    help="What reads age and sex: a predictor file, or auto, shipped or off, overriding the policy.",
)
@click.option("--strata", multiple=True, help="Manifest column the tests are stratified by; repeatable.")
@click.option("--label", help="Manifest column the network was trained on: adds the loss to the membership scores.")
@click.option(
    "--budget", callback=duration, help="Ceiling of the whole command, such as 10m; default: none, steps decide."
)
@click.option("--profile", type=click.Choice(list(PROFILES)), help="Steps and hypotheses of the attack.")
@click.option(
    "--method",
    type=click.Choice(["moments", "two-stage", "latent", "pixel", "gradient", "prior"]),
    default="moments",
    show_default=True,
    help="Reconstruction method.",
)
@click.option("--base", type=click.Path(path_type=Path), help="Public weights this checkpoint was fine-tuned from.")
@click.option("--repeats", type=click.IntRange(1, 20), help="Attack seeds that must agree, overriding the policy.")
@click.option("--cache", type=click.Path(path_type=Path), help="Folder that keeps control results between audits.")
@click.option("--side", type=click.IntRange(8, 1024), help="Pixels of the square network input, overriding the policy.")
@click.option(
    "--preprocess",
    type=click.Choice(["infer", "unit", "half", "imagenet", "xrv"]),
    help="Grey values in training: 0 to 1, -1 to 1, ImageNet's, -1024 to 1024; overriding the policy.",
)
@click.option(
    "--head", type=click.Choice(["softmax", "sigmoid", "regression"]), help="What the outputs are, if not guessed."
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--deterministic", is_flag=True, help="Deterministic kernels only.")
@click.option("--arch", help="Architecture by name, instead of inferring it.")
@click.option("--arch-factory", help="package.module:function that builds the network. Runs that code.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("reid-audit-report"), show_default=True)
@click.option("--format", "formats", multiple=True, type=click.Choice(["html", "json", "markdown", "sarif", "junit"]))
@click.option("--resume", is_flag=True, help="Reuse finished arms found in --out.")
@click.option(
    "--fail-on",
    type=click.Choice(["fail", "inconclusive", "never"]),
    default="inconclusive",
    show_default=True,
    help="Which outcomes give a non-zero code; changes only 1 and 4 to 0.",
)
@click.option("--quiet", is_flag=True, help="Say nothing but errors.")
def check(checkpoint: Path, *, fail_on: FailOn, out: Path, quiet: bool, formats: tuple[str, ...], **given: Any) -> int:
    """Audit CHECKPOINT: attack it within the budget, score patient re-identification, judge, report, exit."""
    from reid_audit.report import FILES, FORMATS

    policy, _, _ = load_policy(given["policy"], Path.cwd())
    for name in FILES.values():
        (out / name).unlink(missing_ok=True)
    screen(checkpoint)
    from reid_audit.audit import (  # brings torch, timm and torchvision: not before the file has passed
        ControlCache,
        run_audit,
    )
    from reid_audit.store import RunStore

    request, films = plan(checkpoint, policy, given)
    console = console_for(quiet=quiet)
    with ConsoleObserver(console, ceiling=request.policy.budget.seconds) as observer:
        audited = run_audit(
            request,
            films,
            now=datetime.now(UTC),
            clock=time.monotonic,
            observer=observer,
            store=RunStore(out / "restricted" / "arms", resume=given["resume"]),
            cache=ControlCache(given["cache"]),
        )
    wanted = tuple(name for name in FORMATS if name in formats) or FORMATS
    deliver(audited, out, wanted)
    show_result(console, audited.result)
    console.print(f"reports: {out} (restricted/ shows patients and stays in the house)", highlight=False)
    return process_code(audited.result.verdict.outcome, audited.result.verdict.exit_code, fail_on)


def plan(checkpoint: Path, policy: Policy, given: dict[str, Any]) -> tuple[AuditRequest, Films]:
    """Options and policy file as a request. Precedence: flag, environment, file, default."""
    from reid_audit.audit import AuditRequest

    policy = override(policy, given)
    waivers = load_waivers(given["waivers"], Path.cwd())
    films, prior_file = sources(given)
    request = AuditRequest(
        checkpoint=checkpoint,
        policy=policy,
        policy_sha256=policy_sha256(policy),
        waivers=waivers,
        method=given["method"],
        seed=given["seed"],
        device=given["device"],
        deterministic=given["deterministic"],
        architecture=given["arch"],
        factory=given["arch_factory"],
        prior=prior_file,
        prior_patients=given["prior_patients"],
        predictor=None if given["demographics"] in (None, *READERS) else Path(given["demographics"]),
        base=given["base"],
    )
    return request, films


def override(policy: Policy, given: dict[str, Any]) -> Policy:
    """The policy with the command line's budget, profile, repeats, head, demographics and preprocessing."""
    changes: dict[str, Any] = dict(PROFILES[given["profile"]]) if given["profile"] else {}
    if given["budget"] is not None:
        changes["seconds"] = given["budget"]
    policy = policy.model_copy(update={"budget": Budget(**{**policy.budget.model_dump(), **changes})})
    if given["repeats"] is not None:
        policy = policy.model_copy(update={"repeats": given["repeats"], "agreement": None})
    if given["head"] is not None:
        policy = policy.model_copy(update={"head": given["head"]})
    if given["demographics"] in READERS:
        policy = policy.model_copy(update={"demographics": given["demographics"]})
    return policy.model_copy(
        update={"preprocess": preprocessing(policy.preprocess, given["preprocess"], given["side"])}
    )


def preprocessing(stated: PreprocessPolicy, values: str | None, side: int | None) -> PreprocessPolicy:
    """The policy's table with grey values by name (``infer``: asked of the first layers) and another side."""
    from reid_audit.preprocess import NAMED

    if values == "infer":
        stated = PreprocessPolicy(declared=stated.declared, values="inferred")
    elif values is not None:
        named = NAMED[values].model_dump(include={"mean", "std", "invert"})
        stated = PreprocessPolicy(declared=(stated.declared or PreprocessSpec()).model_copy(update=named))
    if side is None:
        return stated
    declared = (stated.declared or PreprocessSpec()).model_copy(update={"side": side})
    return PreprocessPolicy(declared=declared, values="inferred" if stated.declared is None else stated.values)


def sources(given: dict[str, Any]) -> tuple[Films, Path | None]:
    """Where films come from, opened only when an audit asks; and the prior's file if it is one.

    Raises CohortError where a folder or manifest is found wanting without opening a film.
    """
    from reid_audit.audit import Films, Frame, PriorFilms
    from reid_audit.cohort import Cohort, foresee, load_cohort, parse_source

    def opener(text: str, role: Literal["reference", "holdout"], *, named: bool = True) -> Any:
        path, where = parse_source(text)
        label = given["label"] if named else None
        foresee(path, where, given["strata"], label)

        def open_cohort(frame: Frame) -> Cohort:
            return load_cohort(
                path,
                role=role,
                spec=frame.spec,
                side=frame.side,
                channels=frame.channels,
                where=where,
                strata=given["strata"],
                label=label,
            )

        return open_cohort

    prior = given["prior"]
    named_file = prior is not None and Path(prior).suffix.lower() in PRIOR_FILES
    if given["prior_patients"] is not None and not named_file:
        raise click.UsageError("--prior-patients goes with a --prior file")
    if named_file:
        open_prior, prior_file = None, Path(prior)
    elif prior is not None:
        read, name = opener(prior, "reference", named=False), parse_source(prior)[0].name
        open_prior, prior_file = (lambda frame: PriorFilms(read(frame), declared=name)), None
    else:
        open_prior, prior_file = None, None
    films = Films(
        reference=opener(given["reference"], "reference") if given["reference"] else None,
        holdout=opener(given["holdout"], "holdout") if given["holdout"] else None,
        prior=open_prior,
    )
    return films, prior_file


def deliver(audited: Audited, out: Path, formats: tuple[Any, ...]) -> None:
    """Write the public reports, then what is restricted (mode 0700)."""
    from reid_audit.report import publish, write_reports
    from reid_audit.report.evidence import write_evidence
    from reid_audit.store import write_private

    write_reports(publish(audited.result), out, formats)
    write_private(out / "restricted" / "result.json", audited.result.model_dump_json(indent=1))
    if audited.evidence is not None:
        write_evidence(audited.evidence, out / "restricted")


def process_code(outcome: Outcome, code: int, fail_on: FailOn) -> int:
    """``--fail-on`` changes only 1 and 4 to 0."""
    forgiven = {"fail": (Outcome.INCONCLUSIVE,), "inconclusive": (), "never": (Outcome.FAIL, Outcome.INCONCLUSIVE)}
    return 0 if outcome in forgiven[fail_on] else code
