"""``reid-audit policy``."""

from __future__ import annotations

from pathlib import Path

import click

from reid_audit.errors import PolicyError
from reid_audit.policy import load_policy, policy_template


@click.group()
def policy() -> None:
    """Write or check a reid-audit.toml."""


@policy.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("reid-audit.toml"), show_default=True)
def init(out: Path) -> int:
    """Write a commented policy with the default thresholds; an existing file is never overwritten."""
    if out.exists():
        raise PolicyError(f"{out} exists", closest=str(out), remedy="choose another --out, or remove the file first")
    out.write_text(policy_template(), encoding="utf-8")
    click.echo(f"wrote {out}")
    return 0


@policy.command()
@click.argument("path", required=False, type=click.Path(path_type=Path))
def check(path: Path | None) -> int:
    """Validate a policy and say what it asks for."""
    from reid_audit.score.calibration import members_needed

    found, source, digest = load_policy(path, Path.cwd())
    click.echo(f"{source or 'built-in defaults'}: valid, sha256 {digest[:16]}")
    for gate in found.gates:
        click.echo(f"  {gate.metric.value}: fail {gate.fail}, clear {gate.clear}, on {gate.basis}")
    rates = [g for g in found.gates if g.metric.value.endswith("tpr_at_1pct_fpr") and g.clear is not None]
    for gate in rates:
        needed = members_needed(gate.clear or 0.0)
        click.echo(
            f"  to clear {gate.metric.value} <= {gate.clear}: at least {needed} training and 100 hold-out patients"
        )
    return 0
