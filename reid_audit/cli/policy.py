"""``reid-audit policy``."""

from __future__ import annotations

from pathlib import Path

import click

from reid_audit.cli.computing import Computing
from reid_audit.errors import PolicyError
from reid_audit.policy import load_policy, policy_template


@click.group()
def policy() -> None:
    """Write or check a reid-audit.toml."""


@policy.command(cls=Computing)
@click.option("--out", type=click.Path(path_type=Path), default=Path("reid-audit.toml"), show_default=True)
def init(out: Path) -> int:
    """Write a commented policy with the default thresholds; an existing file is never overwritten."""
    if out.exists():
        raise PolicyError(f"{out} exists", closest=str(out), remedy="choose another --out, or remove the file first")
    out.write_bytes(policy_template().encode())  # the bytes whose SHA-256 stands for the defaults
    click.echo(f"wrote {out}")
    return 0


@policy.command(cls=Computing)
@click.argument("path", required=False, type=click.Path(path_type=Path))
def check(path: Path | None) -> int:
    """Validate a policy and say what it asks for."""
    from reid_audit.score.needs import needs, smallest, to_report_one

    found, source, digest = load_policy(path, Path.cwd())
    click.echo(f"{source or 'built-in defaults'}: valid, sha256 {digest}")
    for gate in found.gates:
        click.echo(f"  {gate.metric.value}: fail {gate.fail}, clear {gate.clear}, on {gate.basis}")
    click.echo("patients a clean model needs to PASS, by gate and control (training, hold-out with the canaries):")
    for need in needs(found):
        click.echo(f"  {need.metric.value}: {need.members}, {need.others}{'; ' if need.note else ''}{need.note}")
    members, others = smallest(found)
    click.echo(f"  together: {members}, {others}; more make it likelier (docs/validity.md)")
    click.echo(f"  reidentified_patients can be other than 0 from {to_report_one(found, members)} hold-out patients on")
    return 0
